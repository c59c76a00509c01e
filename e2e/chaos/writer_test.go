//go:build linux

package chaos

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lineSize is the length of a line of a writer, with its newline.
const lineSize = 100

// line is the n-th line of a run.
func line(buf []byte, generation string, n int) []byte {
	buf = append(buf[:0], "run "...)
	buf = append(buf, generation...)
	buf = append(buf, " line "...)
	buf = strconv.AppendInt(buf, int64(n), 10)
	for len(buf) < lineSize-1 {
		buf = append(buf, '.')
	}
	return append(buf, '\n')
}

// writerMain is a service: writer DIR PAUSE. It looks whether it is the only one, by a lock on a file that nobody deletes, and
// whether it has inherited its own lock; then it writes numbered lines, and notes in DIR how many, until SIGTERM. Each
// burst of lines is followed by a pause.
func writerMain(args []string) int {
	dir := args[0]
	name, generation := splitMark(os.Getenv("HOB_ID"))
	complain := func(format string, a ...any) {
		f, err := os.OpenFile(filepath.Join(dir, "violations"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err == nil {
			fmt.Fprintf(f, "%s: "+format+"\n", append([]any{os.Getenv("HOB_ID")}, a...)...)
			f.Close()
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if !lockWitness(filepath.Join(dir, name+".only")) {
		complain("another copy of the service runs")
		return 9
	}
	if !inheritsLock() {
		complain("the service has not inherited its own lock")
	}
	count, err := os.OpenFile(filepath.Join(dir, name+".run."+generation), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		complain("%v", err)
		return 9
	}
	pause, _ := time.ParseDuration(args[1])
	return write(count, generation, pause, stop)
}

const burst = 20

func write(count *os.File, generation string, pause time.Duration, stop <-chan os.Signal) int {
	buf, all, number := make([]byte, 0, lineSize), make([]byte, 0, burst*lineSize), make([]byte, 8)
	for n := 0; ; {
		all = all[:0]
		for range burst {
			buf = line(buf, generation, n)
			all = append(all, buf...)
			n++
		}
		if _, err := os.Stdout.Write(all); err != nil { // all at once: a call costs much where it is traced
			return 8
		}
		binary.LittleEndian.PutUint64(number, uint64(n))
		if _, err := count.WriteAt(number, 0); err != nil {
			return 8
		}
		select {
		case <-stop:
			return 0
		case <-time.After(pause):
		}
	}
}

// splitMark takes ID/NAME/GENERATION apart.
func splitMark(mark string) (name, generation string) {
	f := strings.Split(mark, "/")
	if len(f) != 3 {
		return "", ""
	}
	return f[1], f[2]
}

// lockWitness takes a lock for as long as this process lives.
func lockWitness(path string) bool {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	return err == nil && unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil
}

// inheritsLock reports that descriptor 10 is a file that is locked: somebody who opens it anew can't lock it.
func inheritsLock() bool {
	fd, err := unix.Open("/proc/self/fd/10", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK
}
