// Command probe is what test containers run: it serves and makes transfers, pings and asks for addresses by ARP, with payloads
// that carry a marker for the leak harness, and prints one JSON object per line. As an attacker it sends frames as they are given.
package main

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the flags of all subcommands; each uses some.
type options struct {
	canary   string        // hexadecimal; fills payloads
	count    int           // packets
	interval time.Duration // between packets
	timeout  time.Duration // of each answer, or of a transfer
	size     int           // bytes of payload
	device   string
	port     int
	address  string // the first argument
	args     []string
}

// marker is the payload's pattern.
func (o options) marker() []byte {
	b, err := hex.DecodeString(o.canary)
	if err != nil || len(b) == 0 {
		return []byte("no canary given.")
	}
	return b
}

// fill returns n bytes of the marker over and over.
func (o options) fill(n int) []byte {
	m := o.marker()
	b := make([]byte, n)
	for i := range b {
		b[i] = m[i%len(m)]
	}
	return b
}

var commands = map[string]func(options) error{
	"arp":      arp,
	"frame":    frame,
	"ping":     ping,
	"serve":    serve,
	"transfer": transfer,
}

func main() {
	// The first process of a container has no default handler for signals.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-stop; os.Exit(0) }()

	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("usage: probe arp|frame|ping|serve|transfer [flags] [address or frames]")
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.canary, "canary", "", "payload pattern, hexadecimal")
	flags.IntVar(&o.count, "count", 1, "packets")
	flags.DurationVar(&o.interval, "interval", 50*time.Millisecond, "between packets")
	flags.DurationVar(&o.timeout, "timeout", time.Second, "for an answer")
	flags.IntVar(&o.size, "size", 56, "bytes of payload")
	flags.StringVar(&o.device, "device", "eth0", "link to ask on")
	flags.IntVar(&o.port, "port", 9000, "TCP port")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	o.address, o.args = flags.Arg(0), flags.Args()
	return commands[args[0]](o)
}

// report prints one result.
func report(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
