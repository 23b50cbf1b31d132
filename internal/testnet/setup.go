package testnet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Setup installs the Debian packages that test hosts need, where they are missing.
func Setup(ctx context.Context) error {
	if InLab() { // what it lacks can't be had there
		return nil
	}
	// A root shell made by su has no sbin in its path.
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if !strings.Contains(":"+os.Getenv("PATH")+":", ":"+dir+":") {
			if err := os.Setenv("PATH", os.Getenv("PATH")+":"+dir); err != nil {
				return err
			}
		}
	}
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts/setup"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("scripts/setup: %w", err)
	}
	return nil
}
