package testnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// pollEvery is how often Until asks.
const pollEvery = 20 * time.Millisecond

// Until calls condition until it returns nil, and gives up with its last error after limit, with ctx, or at an error made by
// Final. In the laboratory, whose processor is emulated, limit is four times as long.
func Until(ctx context.Context, limit time.Duration, condition func() error) error {
	if InLab() {
		limit *= 4
	}
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

// InLab tells whether this is the laboratory's machine. It takes from five to thirty times as long for everything.
func InLab() bool { return os.Getenv("LAB") != "" }

// Patiently calls do, and in the laboratory again as long as its error is the plugin's own lack of patience: it answers dockerd
// within two seconds, done or not.
func Patiently(ctx context.Context, do func() error) error {
	if !InLab() {
		return do()
	}
	return Until(ctx, 30*time.Second, func() error {
		err := do()
		if err == nil {
			return nil
		}
		for _, late := range []string{"is not done within", "no answer in time", "etcd not reached", "not yet reached", "have not come yet"} {
			if strings.Contains(err.Error(), late) {
				return err
			}
		}
		return Final(err)
	})
}

type final struct{ error }

// Final marks an error after which Until need not go on.
func Final(err error) error { return final{err} }
