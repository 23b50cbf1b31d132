// Command chaos breaks hosts at random and looks whether the promises hold: schedules of faults, each drawn from a seed, on
// agents without dockerd that share one environment, under traffic and with an attacker on the underlay. A schedule that
// fails is printed with the command that repeats it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// maxHosts bounds a rig: host n's other address ends in n+100.
const maxHosts = 50

func main() {
	seed := flag.Uint64("seed", 0, "of the first schedule, each further one has the next; 0: random")
	n := flag.Int("n", 10, "schedules")
	hosts := flag.Int("hosts", 3, "hosts, 2 to 50")
	members := flag.Int("members", 1, "of the embedded etcd: 1, 3 or 5, and no more than hosts")
	docker := flag.Bool("docker", false, "a dockerd on each host, which starts the containers")
	plane := flag.String("dataplane", "auto", "the agents' DATAPLANE")
	long := flag.Duration("soak", 0, "no schedules: containers that come and go under rekeying for so long, and whether anything is left")
	point := flag.Int("points", 0, "no schedules: an agent is killed before its write of this number, and so on in steps of -n; see points")
	founder := flag.Bool("founder", false, "with -points: the founder's agent")
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(rand.Uint32()) + 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if flag.NArg() > 0 || *n < 1 || *hosts < 2 || *hosts > maxHosts || !slices.Contains([]int{1, 3, 5}, *members) || *members > *hosts || *point > 0 && *members > 1 {
		fmt.Fprintln(os.Stderr, "usage: chaos [-seed S] [-n SCHEDULES] [-hosts 2..50] [-members 1|3|5] [-docker] [-dataplane auto|kernel|userspace] [-soak 30m] | chaos -points FIRST [-n STEP] [-founder]")
		os.Exit(2)
	}
	err := testnet.Setup(ctx)
	if err == nil {
		err = testnet.Build(ctx)
	}
	o := options{hosts: *hosts, members: *members, plane: *plane, docker: *docker, founder: *founder}
	switch {
	case err != nil:
	case *point > 0:
		_, err = points(ctx, os.Stdout, o, *point, *n)
	case *long > 0:
		err = soak(ctx, os.Stdout, o, *seed, *long)
	default:
		err = series(ctx, os.Stdout, o, *seed, *n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// series runs n schedules from the seed on. After one that failed it goes on with fresh hosts.
func series(ctx context.Context, out io.Writer, o options, seed uint64, n int) (err error) {
	fmt.Fprintf(out, "chaos: %d schedules, SEED=%d\n", n, seed)
	var r *rig
	defer func() {
		if r != nil {
			err = errors.Join(err, r.close())
		}
	}()
	var failed []uint64
	sum := summary{faults: map[string]int{}, attacks: map[string]int{}}
	start := time.Now()
	for i := range n {
		if r == nil {
			if r, err = newRig(ctx, o, seed); err != nil {
				return err
			}
		}
		s := newSchedule(seed+uint64(i), o.hosts, machine{r.kernel, testnet.InLab(), o.docker, o.members > 1})
		took, err := r.run(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sum.add(s, took)
		if err == nil {
			fmt.Fprintf(out, "ok    seed %d: %d faults, whole again after %.1f s (%s)\n", s.Seed, len(s.Faults), took.Seconds(), strings.Join(r.took, ", "))
			continue
		}
		failed = append(failed, s.Seed)
		r.report(ctx, out, s, err)
		sum.ended(r)
		err = r.close()
		r = nil
		if err != nil {
			return err
		}
	}
	if r != nil {
		sum.ended(r)
	}
	sum.print(out, time.Since(start))
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d schedules failed, seeds %v", len(failed), n, failed)
	}
	return nil
}
