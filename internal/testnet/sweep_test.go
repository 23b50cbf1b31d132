package testnet_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestChild is the program that the tests below kill: it makes a cluster, says where it is, and waits.
func TestChild(t *testing.T) {
	mode := os.Getenv("MST_CHILD")
	if mode == "" {
		t.Skip("run by the tests that kill it")
	}
	c, err := testnet.New(t.Context(), testnet.Options{Hosts: 1, Docker: true})
	if err != nil {
		t.Fatal(err)
	}
	if mode == "stay" {
		if err := c.Stay(); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("\ncluster %s %d\n", c.Dir(), c.Hosts[0].Pid())
	select {}
}

// killed starts a child in the mode, kills it when its cluster is up, and returns the cluster's directory and host's first process.
func killed(t *testing.T, mode string) (dir string, pid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), "MST_CHILD="+mode)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "cluster" {
			dir = fields[1]
			pid, _ = strconv.Atoi(fields[2])
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if dir == "" || pid == 0 {
		t.Fatal("the child made no cluster")
	}
	return dir, pid
}

func TestKilledProgramLeavesNothing(t *testing.T) {
	dir, pid := killed(t, "die")
	// Its processes end by themselves, dockerd and all.
	if err := testnet.Until(t.Context(), 20*time.Second, func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("the first process still runs: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// What is on disk is removed by the next run.
	cluster(t, testnet.Options{})
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s left", dir)
	}
}

func TestStay(t *testing.T) {
	dir, pid := killed(t, "stay")
	cluster(t, testnet.Options{}) // sweeps, but not this one
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("the cluster did not stay: %v", err)
	}
	testnet.End()
	if err := testnet.Until(t.Context(), 20*time.Second, func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("the first process still runs: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s left", dir)
	}
}
