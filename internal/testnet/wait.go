package testnet

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollEvery is how often Until asks.
const pollEvery = 20 * time.Millisecond

// Until calls condition until it returns nil, and gives up with its last error after limit, with ctx, or at an error made by Final.
func Until(ctx context.Context, limit time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := condition()
		var last final
		if err == nil {
			return nil
		} else if errors.As(err, &last) {
			return last.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

type final struct{ error }

// Final marks an error after which Until need not go on.
func Final(err error) error { return final{err} }
