// Command lineserver answers lines: one request a connection, in two halves. It takes its socket by sd_listen_fds(3), or
// listens by itself, and fails in the ways that tests ask for.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var (
	listen = flag.String("listen", "", "listen at this address by itself")
	crash  = flag.Int64("crash", 0, "exit 3 in the middle of it after so many answers")
	slow   = flag.Duration("slow", 0, "between the halves of an answer")
	term   = flag.String("term", "die", "what TERM does: die, ignore, or finish what was accepted")
	exit   = flag.Int("exit", -1, "exit with this without accepting anything")
	note   = flag.String("note", "", "append a line to this file at the start")
)

func main() {
	flag.Parse()
	if *note != "" {
		f, err := os.OpenFile(*note, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		check(err)
		_, err = fmt.Fprintln(f, os.Getpid())
		check(err)
	}
	if *exit >= 0 {
		os.Exit(*exit)
	}
	l := listener()
	var work sync.WaitGroup
	switch *term {
	case "die":
		byDefault()
	case "ignore":
		signal.Ignore(syscall.SIGTERM)
	case "finish":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		go func() {
			<-c
			l.Close()
		}()
	}
	var served atomic.Int64
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		work.Go(func() { answer(c, &served) })
	}
	work.Wait()
}

// byDefault gives TERM its default action, which the runtime has taken it: it catches the signal, and ends the process then.
func byDefault() {
	var action [4]uintptr // struct kernel_sigaction: SIG_DFL, no flags, no restorer, empty mask
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGTERM), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		check(errno)
	}
}

func listener() net.Listener {
	if *listen != "" {
		network := "tcp"
		if (*listen)[0] == '/' {
			network = "unix"
		}
		l, err := net.Listen(network, *listen)
		check(err)
		return l
	}
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		check(fmt.Errorf("LISTEN_PID=%q LISTEN_FDS=%q, and this is %d", os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getpid()))
	}
	l, err := net.FileListener(os.NewFile(3, "socket"))
	check(err)
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return l
}

func answer(c net.Conn, served *atomic.Int64) {
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return
	}
	fmt.Fprintf(c, "%d ", os.Getpid())
	time.Sleep(*slow)
	fmt.Fprint(c, line)
	if n := served.Add(1); *crash > 0 && n >= *crash {
		os.Exit(3)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "lineserver:", err)
		os.Exit(1)
	}
}
