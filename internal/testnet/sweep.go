package testnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dirPrefix names the directory and the control group of every run.
const dirPrefix = "mst-"

// lockDir holds a run's directory until the returned file is closed, also by the end of the program.
func lockDir(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return file, nil
}

// End takes down every cluster whose program has ended, also those that were to stay.
func End() { sweep(true) }

// sweep removes what ended programs left. Clusters that were told to stay are left alone unless stayed is set.
func sweep(stayed bool) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		lock, err := lockDir(dir)
		if err != nil {
			continue // in use, or removed meanwhile
		}
		if alive := initPids(dir); len(alive) == 0 || stayed {
			for _, pid := range alive {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			_ = removeRun(dir)
		}
		lock.Close()
	}
}

// initPids are the first processes of a run's spaces that are alive. A number that now belongs to another process is not one.
func initPids(dir string) (pids []int) {
	files, _ := filepath.Glob(filepath.Join(dir, "*", "pid"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(string(text))
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if strings.Contains("\x00"+string(env), "\x00D="+filepath.Dir(file)+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// removeRun removes a run's directory and its control groups, which the kernel frees a moment after the last process.
func removeRun(dir string) error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(pollEvery) {
		if err = errors.Join(removeGroups("/"+filepath.Base(dir)), os.RemoveAll(dir)); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// removeGroups removes the control group of that name from every hierarchy, innermost first.
func removeGroups(group string) error {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*")
	var errs []error
	for _, root := range append(roots, "/sys/fs/cgroup") {
		var dirs []string
		_ = filepath.WalkDir(root+group, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := unix.Rmdir(dirs[i]); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("control group %s: %w", dirs[i], err))
			}
		}
	}
	return errors.Join(errs...)
}
