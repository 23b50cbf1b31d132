package xfrm

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// drops reads the counters of Documentation/networking/xfrm_proc.rst: "XfrmInNoStates  3".
func (k *netlinkKernel) drops() (map[string]uint64, error) {
	counts := map[string]uint64{}
	err := k.DoHost(func() error {
		f, err := os.Open("/proc/thread-self/net/xfrm_stat")
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if line := strings.Fields(lines.Text()); len(line) == 2 {
				if v, err := strconv.ParseUint(line[1], 10, 64); err == nil {
					counts[line[0]] = v
				}
			}
		}
		return lines.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("counters of IPsec: %w", err)
	}
	return counts, nil
}
