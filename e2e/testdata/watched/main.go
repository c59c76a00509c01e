//go:build linux

// Watched executes a program whose system calls somebody else decides about: the numbers of the calls, a comma between two, are its
// first argument, the program with its arguments the rest. Each such call of the program and of whatever it starts waits until the process
// that has the other end of descriptor 3, a Unix socket, and with it the listener that is sent over it, has answered (seccomp_unotify(2)).
// It never decides anything by itself: exit status 125 means that this kernel, or whoever confines this process, does not allow it.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // the filter is this thread's alone, and it is this thread that executes the program
	if err := watched(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "watched:", err)
		os.Exit(125)
	}
}

func watched(numbers string, argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	filter, err := compile(strings.Split(numbers, ","))
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	// Another thread sends it: nobody could answer yet what this one asks.
	listener, sent := make(chan int), make(chan error)
	go func() {
		fd := <-listener
		err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(fd), nil, 0)
		unix.Close(fd)
		unix.CloseOnExec(3)
		sent <- err
	}()
	fd, err := install(filter)
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	listener <- fd
	if err := <-sent; err != nil {
		return err
	}
	return unix.Exec(path, argv, os.Environ())
}

// install gives the listener. Without WAIT_KILLABLE_RECV (Linux 5.19) a call that a signal interrupts would be heard of twice.
func install(filter []unix.SockFilter) (int, error) {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// compile makes the program that asks about the calls and allows all others.
func compile(numbers []string) ([]unix.SockFilter, error) {
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // seccomp_data.nr
	for i, n := range numbers {
		nr, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			return nil, err
		}
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jt: uint8(len(numbers) - i)})
	}
	return append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF}), nil
}
