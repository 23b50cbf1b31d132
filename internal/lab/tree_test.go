package main

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestScript(t *testing.T) {
	odd := "it's $HOME\n\"`*"
	got, err := exec.Command("sh", "-c", script([]string{words([]string{"printf", "%s", odd})})).Output()
	if string(got) != odd || err != nil {
		t.Errorf("%q, %v; want %q", got, err, odd)
	}
	run := exec.Command("sh", "-c", script([]string{"cd / && false", "exit 7", "echo last"}))
	if got, err := run.Output(); string(got) != "last\n" || run.ProcessState.ExitCode() != 7 {
		t.Errorf("%q, %v; want all steps and status 7", got, err)
	}
}

// archive is a tar archive with one entry.
func archive(t *testing.T, head tar.Header, content string) *bytes.Buffer {
	t.Helper()
	head.Size = int64(len(content))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&head); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"../out", "/out", "a/../../out"} {
		if err := unpack(archive(t, tar.Header{Name: name, Typeflag: tar.TypeReg}, "x"), dir); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := unpack(archive(t, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, ""), dir); err != nil {
		t.Error(err)
	}
	if err := unpack(archive(t, tar.Header{Name: "./file", Typeflag: tar.TypeReg}, "content"), dir); err != nil {
		t.Error(err)
	}
	all, err := os.ReadDir(dir)
	if err != nil || len(all) != 1 || all[0].Name() != "file" {
		t.Errorf("%v, %v; want the file alone", all, err)
	}
}

// busybox reads what the kernel is to read.
func TestInitrd(t *testing.T) {
	var b bytes.Buffer
	if err := writeInitrd(&b, []file{{"a", []byte("12345"), 0o644}, {"lab/b", nil, 0o755}, {"lab/cd", []byte("1"), 0o600}}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unpack := exec.Command("busybox", "cpio", "-i", "-v")
	unpack.Dir, unpack.Stdin = dir, &b
	if out, err := unpack.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "a\nlab\nlab/b\nlab/cd\n") {
		t.Errorf("%s, %v", out, err)
	}
	if data, err := os.ReadFile(dir + "/a"); string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := os.Stat(dir + "/lab/b"); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
}
