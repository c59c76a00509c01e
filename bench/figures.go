package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine says when and where the figures are from, and what else the machine did.
func machine(began string) string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-") // what follows is whose build it is
	return fmt.Sprintf("%s: %d × %s, Linux %s, %s, load %s before and %s after",
		time.Now().Format("2 January 2006"), runtime.NumCPU(), processor(), release, runtime.Version(), began, load())
}

// load is the mean of processes that ran or waited for the disk in the last minute.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	load, _, _ := strings.Cut(string(text), " ")
	return load
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// keep writes the report into a document, between the lines that name it.
func keep(path, name, where string, r *report) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	open, end := []byte("<!-- "+name+" -->\n"), []byte("<!-- end of "+name+" -->\n")
	from, to := bytes.Index(text, open), bytes.Index(text, end)
	if from < 0 || to < from {
		return fmt.Errorf("%s: no lines %q and %q in this order", path, open, end)
	}
	var b bytes.Buffer
	b.Write(text[:from+len(open)])
	fmt.Fprintf(&b, "\n%s.\n\n```\n%s\n```\n\n", where, bytes.TrimSpace(r.text.Bytes()))
	b.Write(text[to:])
	return os.WriteFile(path, b.Bytes(), 0o644)
}
