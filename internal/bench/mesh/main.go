// Command mesh measures what users of the whole plugin feel, on test hosts made of namespaces: how soon an endpoint is
// reachable from the other hosts, and known to their DNS, what a flood of DNS does to others, what `docker run` costs against Docker's bridge network, and the agent's memory;
// or what it costs when all hosts start at once. It prints Markdown.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

func main() {
	runs := flag.Int("runs", 30, "docker runs of each kind; 0: the propagation only")
	endpoints := flag.Int("endpoints", 200, "endpoints for the propagation")
	length := flag.Duration("flood", 0, "instead of measuring, ask DNS as fast as possible for so long: what is measured in a container")
	together := flag.Int("storm", 0, "instead of measuring the rest, start so many hosts at the same moment, 2 to 150")
	clusters := []int{3, 25}
	flag.Func("hosts", "clusters for the propagation (default 3,25)", func(text string) error {
		clusters = nil
		for word := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(word)
			if err != nil || n < 3 {
				return fmt.Errorf("%q is not a number of at least 3", word)
			}
			clusters = append(clusters, n)
		}
		return nil
	})
	flag.Parse()
	if *length > 0 {
		if err := flood(*length); err != nil {
			fmt.Fprintln(os.Stderr, "flood:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *together != 0 {
		if *together < 2 || *together > 150 {
			fmt.Fprintf(os.Stderr, "bench: -storm %d: 2 to 150 are allowed\n", *together)
			os.Exit(2)
		}
		if err := storm(ctx, *together); err != nil {
			fmt.Fprintln(os.Stderr, "storm:", err)
			os.Exit(1)
		}
		return
	}
	if err := measure(ctx, clusters, *runs, *endpoints); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, clusters []int, runs, endpoints int) error {
	fmt.Print("### From the return of CreateEndpoint to the fact in the founder's etcd, and to the route and the first answer of DNS on the other hosts\n\n")
	fmt.Print("| hosts | endpoints | fact, p50 | p99 | slowest | route, p50 | p99 | slowest | DNS, p50 | p99 | slowest | DNS after the fact, p50 | p99 | slowest " +
		"| processor time for an endpoint, founder (with etcd) | … each other host, with DNS | agent's memory, founder | … others, largest |\n" +
		strings.Repeat("|---", 18) + "|\n")
	for _, hosts := range clusters {
		if err := propagation(ctx, hosts, endpoints); err != nil {
			return fmt.Errorf("propagation with %d hosts: %w", hosts, err)
		}
	}
	if runs == 0 {
		return nil
	}
	fmt.Print("\n### A container's questions to DNS, while another one is quiet, and while it floods\n\n")
	fmt.Print("| the other's questions a second | dropped by the kernel | answered in, p50 | p99 | slowest | lost | agent's processors |\n|---|---|---|---|---|---|---|\n")
	if err := flooded(ctx, 10*time.Second); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	fmt.Print("\n### `docker run` against Docker's bridge network, alternating\n\n")
	fmt.Print("| network | runs | median | p99 | median against bridge |\n|---|---|---|---|---|\n")
	return latency(ctx, runs)
}

// latency times `docker run --rm` of a container that ends at once, on both networks in turn.
func latency(ctx context.Context, runs int) error {
	c, err := testnet.New(ctx, testnet.Options{Hosts: 1, Docker: true})
	if err != nil {
		return err
	}
	defer c.Close()
	h := c.Hosts[0]
	if err := h.InstallPlugin(ctx, "ADVERTISE="+h.Addr.String()); err != nil {
		return err
	}
	for _, args := range [][]string{{"-d", "meshsec", "--ipam-driver", "meshsec", "mesh"}, {"-d", "bridge", "plain"}} {
		if _, err := h.Docker(ctx, append([]string{"network", "create"}, args...)...); err != nil {
			return err
		}
	}
	took := map[string][]time.Duration{}
	for i := range 2 * (runs + 1) {
		network := []string{"plain", "mesh"}[i%2]
		start := time.Now()
		if _, err := h.Docker(ctx, "run", "--rm", "--network", network, testnet.Image, "busybox", "true"); err != nil {
			return err
		}
		if i > 1 { // the first of each warms up
			took[network] = append(took[network], time.Since(start))
		}
	}
	base := quantile(took["plain"], 0.5)
	for _, network := range []string{"plain", "mesh"} {
		d := took[network]
		fmt.Printf("| %s | %d | %s | %s | %.2f |\n", map[string]string{"plain": "bridge", "mesh": "meshsec"}[network], len(d),
			ms(quantile(d, 0.5)), ms(quantile(d, 0.99)), float64(quantile(d, 0.5))/float64(base))
	}
	return nil
}

// quantile is the smallest value that at least the share q of all values do not exceed.
func quantile(d []time.Duration, q float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	i := int(q*float64(len(d))+0.999999) - 1
	return d[min(max(i, 0), len(d)-1)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
