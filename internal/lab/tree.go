package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// runDir holds what a run needs and gives, below the source tree: tree.sqsh, and a directory for each machine.
const runDir = "build/lab"

// packTree packs the source tree, with bin, build and the tests of buildTests, as a file system image.
func packTree(ctx context.Context) (string, error) {
	image := filepath.Join(runDir, "tree.sqsh")
	cmd := exec.CommandContext(ctx, "mksquashfs", ".", image, "-noI", "-noD", "-noF", "-noX", "-noappend", "-quiet", "-no-progress",
		"-e", ".git", ".cache", runDir)
	owned(cmd)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mksquashfs: %w\n%s", err, output)
	}
	return image, nil
}

// buildTests compiles the tests of the packages into bin/tests and returns the shell commands that run them, each in its
// package's directory as go test would.
func buildTests(ctx context.Context, arch string, packages []string, flags string) ([]string, error) {
	var steps []string
	for _, name := range packages {
		name = filepath.Clean(name)
		binary := filepath.Join("bin/tests", arch, strings.ReplaceAll(name, "/", "-")+".test")
		if err := os.Remove(binary); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
		owned(cmd)
		if output, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("tests of %s: %w\n%s", name, err, output)
		}
		if _, err := os.Stat(binary); err != nil {
			return nil, fmt.Errorf("tests of %s: there are none", name)
		}
		steps = append(steps, words([]string{"echo", "== tests of " + name})+"; "+words([]string{"cd", name})+` && "$TREE"/`+words([]string{binary})+" "+flags)
	}
	return steps, nil
}

// script is a shell script that runs all steps, each from the same directory. It ends with the status of the last that failed.
func script(steps []string) string {
	text := "last=0\n"
	for _, step := range steps {
		text += "( " + step + " ) || last=$?\n"
	}
	return text + "exit $last\n"
}

// results unpacks what a machine gave back into dir/out and returns the status of its command.
func results(dir string) (int, error) {
	f, err := os.Open(filepath.Join(dir, "results.tar"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unpack(f, filepath.Join(dir, "out")); err != nil {
		return 0, fmt.Errorf("results of the machine: %w", err)
	}
	status, err := os.ReadFile(filepath.Join(dir, "out/status"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(status)))
}

// unpack writes the directories and regular files of a tar archive below dir; nothing else is wanted from the machine.
func unpack(r io.Reader, dir string) error {
	for archive := tar.NewReader(r); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(head.Name) {
			return fmt.Errorf("%q leads out of the archive", head.Name)
		}
		path := filepath.Join(dir, head.Name)
		switch head.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeReg:
			err = write(path, archive)
		}
		if err != nil {
			return err
		}
	}
}

func write(path string, content io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// words are the words of a shell command that takes them as they are.
func words(list []string) string {
	var quoted []string
	for _, word := range list {
		quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}
