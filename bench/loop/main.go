// Command loop is the floor for a supervisor: it starts N copies of a command, starts each again at once when
// it ends, and stops them. It is told "start" and "stop" by lines on stdin and answers each with a line when it is done; it ends
// with its stdin.
//
// It keeps no state and no log, has no policy, and knows nothing of a process's children.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: loop N PATH ARG…")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[1])
	null, nullErr := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil || nullErr != nil {
		fmt.Fprintln(os.Stderr, "loop:", err, nullErr)
		os.Exit(2)
	}
	l := &loop{argv: os.Args[2:], null: null}
	for scan := bufio.NewScanner(os.Stdin); scan.Scan(); fmt.Println("done") {
		switch scan.Text() {
		case "start":
			l.start(n)
		case "stop":
			l.stop()
		}
	}
	l.stop()
}

// loop is the whole supervisor.
type loop struct {
	argv     []string
	null     *os.File
	kept     []*kept
	wg       sync.WaitGroup
	stopping atomic.Bool
}

// kept is one process that is started again when it ends.
type kept struct {
	mu sync.Mutex // guards p
	p  *os.Process
}

func (l *loop) start(n int) {
	l.stopping.Store(false)
	for range n {
		k := &kept{p: l.spawn()}
		l.kept = append(l.kept, k)
		l.wg.Go(func() { l.keep(k) })
	}
}

func (l *loop) spawn() *os.Process {
	p, err := os.StartProcess(l.argv[0], l.argv, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{l.null, l.null, l.null},
		Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "loop:", err)
		os.Exit(1)
	}
	return p
}

func (l *loop) keep(k *kept) {
	for {
		_, _ = k.p.Wait()
		k.mu.Lock()
		again := !l.stopping.Load()
		if again {
			k.p = l.spawn()
		}
		k.mu.Unlock()
		if !again {
			return
		}
	}
}

// stop ends all and waits for them.
func (l *loop) stop() {
	l.stopping.Store(true)
	for _, k := range l.kept {
		k.mu.Lock()
		_ = k.p.Signal(syscall.SIGTERM)
		k.mu.Unlock()
	}
	l.wg.Wait()
	l.kept = nil
}
