package testnet

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Container is a running container of Image, or a namespace made by Engine that plays one.
type Container struct {
	Host *Host
	Name string
	Addr netip.Addr // on the network it was started on
	MAC  string

	netns string // the file of its network namespace, until it is restarted
}

// Attachment is a container's place on a network, as `docker inspect` tells it.
type Attachment struct {
	IPAddress   string
	IPPrefixLen int
	MacAddress  string
	Gateway     string
	Aliases     []string
	EndpointID  string
}

// StartContainer starts a container on the network with further flags of `docker run`. It serves transfers on port 9000.
func (h *Host) StartContainer(ctx context.Context, network, name string, flags ...string) (*Container, error) {
	args := append([]string{"run", "-d", "--name", name, "--hostname", name, "--network", network}, flags...)
	err := Patiently(ctx, func() error {
		_, err := h.Docker(ctx, append(args, Image)...)
		if err != nil && InLab() { // what is left of it has the name
			_, _ = h.Docker(ctx, "rm", "-f", name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.Container(ctx, network, name)
}

// Container finds a running container.
func (h *Host) Container(ctx context.Context, network, name string) (*Container, error) {
	c := &Container{Host: h, Name: name}
	a, err := c.Attachment(ctx, network)
	if err != nil {
		return nil, err
	}
	c.MAC = a.MacAddress
	if c.netns, err = h.Docker(ctx, "inspect", "--format", "{{.NetworkSettings.SandboxKey}}", name); err != nil {
		return nil, err
	}
	if c.Addr, err = netip.ParseAddr(a.IPAddress); err != nil {
		return nil, fmt.Errorf("%s: container %s on network %s: %w", h.Name, name, network, err)
	}
	return c, nil
}

// Attachment reads the container's place on a network.
func (c *Container) Attachment(ctx context.Context, network string) (Attachment, error) {
	var v struct {
		NetworkSettings struct{ Networks map[string]Attachment }
	}
	if err := c.Host.Inspect(ctx, "container", c.Name, &v); err != nil {
		return Attachment{}, err
	}
	a, ok := v.NetworkSettings.Networks[network]
	if !ok {
		return Attachment{}, fmt.Errorf("%s: container %s is not on network %s", c.Host.Name, c.Name, network)
	}
	return a, nil
}

// Exec runs a command in the container.
func (c *Container) Exec(ctx context.Context, args ...string) (string, error) {
	return c.Host.Docker(ctx, append([]string{"exec", c.Name}, args...)...)
}

// Remove removes the container, running or not.
func (c *Container) Remove(ctx context.Context) error {
	_, err := c.Host.Docker(ctx, "rm", "-f", c.Name)
	return err
}

// Ping is the outcome of pings: how many, and the first answer's round trip in milliseconds.
type Ping struct {
	Sent, Received int
	FirstMS        float64 `json:"first_ms"`
	BestMS         float64 `json:"best_ms"`
}

// Ping sends n echo requests full of the canary, 20 ms apart; it is an error when one stays unanswered for a second.
func (c *Container) Ping(ctx context.Context, canary [16]byte, to netip.Addr, n int) (p Ping, err error) {
	return p, c.probe(ctx, &p, "ping", "-canary", hex.EncodeToString(canary[:]), "-count", strconv.Itoa(n), "-interval", "20ms", to.String())
}

// Transfer sends n bytes to a container, has as many sent back, and compares the sums of both. It returns the time taken.
func (c *Container) Transfer(ctx context.Context, canary [16]byte, to netip.Addr, n int) (time.Duration, error) {
	var v struct {
		Bytes    int
		Up, Down bool
		MS       float64
	}
	err := c.probe(ctx, &v, "transfer", "-canary", hex.EncodeToString(canary[:]), "-size", strconv.Itoa(n), "-timeout", "20s", to.String())
	if err == nil && (!v.Up || !v.Down || v.Bytes != n) {
		err = fmt.Errorf("%s to %s: %d bytes, sums equal there %v, here %v", c.Name, to, v.Bytes, v.Up, v.Down)
	}
	return time.Duration(v.MS * float64(time.Millisecond)), err
}

// ARP is the answer to one ARP request.
type ARP struct {
	Answered bool
	MAC      string
	MS       float64 // until the answer
}

// ARP asks once who has the address and waits a second for the answer.
func (c *Container) ARP(ctx context.Context, to netip.Addr) (a ARP, err error) {
	return a, c.probe(ctx, &a, "arp", to.String())
}

// SendFrames sends Ethernet frames out of the container's eth0, as they are. It needs CAP_NET_RAW.
func (c *Container) SendFrames(ctx context.Context, frames ...[]byte) error {
	args := []string{"/probe", "frame"}
	for _, f := range frames {
		args = append(args, hex.EncodeToString(f))
	}
	_, err := c.Exec(ctx, args...)
	return err
}

// enter is the command line that runs args in the container's network namespace, and else on its host.
func (c *Container) enter(args ...string) []string {
	return append([]string{"--net=" + c.netns}, args...)
}

// Run runs one of the host's commands in the container's network namespace.
func (c *Container) Run(ctx context.Context, args ...string) (string, error) {
	return c.Host.Run(ctx, "nsenter", c.enter(args...)...)
}

// Enter runs fn on a thread inside the container's network namespace; sockets opened there stay in it.
func (c *Container) Enter(fn func() error) error { return c.Host.EnterNetns(c.netns, fn) }

// Start is Host.Start in the container's network namespace.
func (c *Container) Start(log string, args ...string) (*Process, error) {
	return c.Host.Start(log, nil, "nsenter", c.enter(args...)...)
}

// probe runs the probe in the container's network namespace and decodes the object it prints. `docker exec` would take much longer.
func (c *Container) probe(ctx context.Context, v any, args ...string) error {
	out, err := c.Run(ctx, append([]string{filepath.Join(c.Host.cluster.dir, "probe")}, args...)...)
	if err != nil && strings.Contains(err.Error(), ": nsenter: ") { // it has been restarted since
		out, err = c.Exec(ctx, append([]string{"/probe"}, args...)...)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), v)
}

// runLocal runs a command on the machine itself.
func runLocal(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return output(cmd, "here", append([]string{name}, args...))
}
