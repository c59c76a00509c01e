package hob_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/hobworks/hob"
)

// roles are what a daemon of the tests does: each fills in the options and gives the handler.
var roles = map[string]func(o *hob.ServeOptions) hob.Handler{
	"echo": func(o *hob.ServeOptions) hob.Handler {
		o.Accept = each(func(c net.Conn) { _, _ = io.Copy(c, c) })
		return census
	},
	"greeting": func(o *hob.ServeOptions) hob.Handler {
		o.Accept = each(func(c net.Conn) {
			_, _ = io.WriteString(c, "220 ready\r\n")
			_, _ = io.Copy(c, c)
		})
		return nil
	},
	"http": func(o *hob.ServeOptions) hob.Handler {
		o.Accept = func(l net.Listener) {
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s %s %d", r.Method, r.URL.Path, body, os.Getpid())
			})}
			_ = srv.Serve(l)
			_ = srv.Shutdown(context.Background())
		}
		return census
	},
	"versioned": func(o *hob.ServeOptions) hob.Handler {
		dir := os.Args[3]
		build, _ := os.ReadFile(filepath.Join(dir, "version"))
		o.Build = string(build)
		o.Accept = each(func(c net.Conn) {
			heard, err := os.OpenFile(filepath.Join(dir, "heard"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
			if err == nil {
				_, _ = io.Copy(io.MultiWriter(heard, c), c)
				_ = heard.Close()
			}
		})
		return nil
	},
	"calls only": func(*hob.ServeOptions) hob.Handler { return census },
	"slow": func(o *hob.ServeOptions) hob.Handler {
		// Accept comes late; the connections wait for it.
		o.Run = func(context.Context) { time.Sleep(300 * time.Millisecond) }
		o.Accept = each(func(c net.Conn) { _, _ = io.Copy(c, c) })
		return nil
	},
	"last words": func(o *hob.ServeOptions) hob.Handler {
		stopped, refused := make(chan struct{}), make(chan struct{})
		o.Stop = func(context.Context, bool) {
			<-refused // before Stop, not after it
			close(stopped)
		}
		accept := each(func(c net.Conn) {
			_, _ = io.WriteString(c, "hello\n")
			<-stopped
			time.Sleep(300 * time.Millisecond) // far less than the grace, and more than a stop without any
			_, _ = io.WriteString(c, "last words\n")
		})
		o.Accept = func(l net.Listener) {
			accept(l)
			close(refused)
		}
		return nil
	},
	"stubborn": func(o *hob.ServeOptions) hob.Handler {
		o.Accept = each(func(c net.Conn) {
			_, _ = io.WriteString(c, "hello\n")
			_, _ = io.Copy(io.Discard, c)
		})
		return nil
	},
	"one": func(o *hob.ServeOptions) hob.Handler {
		o.Accept = func(l net.Listener) {
			c, err := l.Accept()
			if err == nil {
				go func() {
					defer c.Close()
					_, _ = io.Copy(c, c)
				}()
			}
		}
		return census
	},
	"closes": func(o *hob.ServeOptions) hob.Handler {
		o.Accept = func(l net.Listener) {
			fmt.Fprintln(os.Stderr, l.Close(), l.Close(), l.Addr().Network())
			_, err := l.Accept()
			fmt.Fprintln(os.Stderr, err)
		}
		return census
	},
	"crowded": func(o *hob.ServeOptions) hob.Handler {
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: crowd * 2, Max: crowd * 2})
		o.Accept = each(func(c net.Conn) { _, _ = io.Copy(c, c) })
		return census
	},
	"overstays": func(o *hob.ServeOptions) hob.Handler {
		stay := filepath.Join(os.Args[3], "stay")
		o.Stop = func(context.Context, bool) {
			for _, err := os.Stat(stay); err == nil; _, err = os.Stat(stay) {
				time.Sleep(10 * time.Millisecond)
			}
		}
		return census
	},
	"draining": func(o *hob.ServeOptions) hob.Handler {
		o.Stop = func(ctx context.Context, _ bool) {
			// Until the test has seen how it is to come now.
			select {
			case <-seen:
			case <-time.After(patience):
			}
		}
		o.Accept = each(func(c net.Conn) {
			_, _ = bufio.NewReader(c).ReadString('\n')
			close(seen)
		})
		return nil
	},
}

// crowd is how many connections the daemon "crowded" takes.
const crowd = 40

var seen = make(chan struct{})

// each serves each connection in a goroutine of its own, and closes it.
func each(serve func(net.Conn)) func(net.Listener) {
	return func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}
}

// count is what the daemon has open.
type count struct{ Files, Goroutines int }

func census(_ context.Context, r *hob.Request) (any, error) {
	if r.Method == "echo" {
		return json.RawMessage(r.Params), nil
	}
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		dir, err = os.ReadDir("/dev/fd")
	}
	return count{Files: len(dir), Goroutines: runtime.NumGoroutine()}, err
}
