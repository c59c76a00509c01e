package hob_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hobworks/hob"
)

// A client which says what it does, and decides by codes and not by words.
func ExampleDial() {
	if len(os.Args) == 3 && os.Args[1] == "serve-notes" { // the daemon
		inst := hob.Instance{Name: "notes", Dir: os.Args[2]}
		_ = hob.Serve(context.Background(), inst, new(notes).handle, nil)
		return
	}

	dir, remove := tempDir()
	defer remove()
	inst := hob.Instance{Name: "notes", Dir: dir, Command: []string{os.Args[0], "serve-notes", dir}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// Only look: nothing is started, and nothing is created.
	_, err := hob.Dial(ctx, inst, &hob.DialOptions{NoSpawn: true})
	var e *hob.Error
	if errors.As(err, &e) && e.Code == "not_running" {
		fmt.Println("no daemon yet")
	}

	c, err := hob.Dial(ctx, inst, &hob.DialOptions{Client: "notes", Build: "v1.0.0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for _, text := range []string{"milk", "bread", ""} {
		var n int
		err = c.Call(ctx, "add", map[string]string{"text": text}, &n)
		if errors.As(err, &e) {
			fmt.Printf("%s: %s (%s)\n", e.Code, e.Message, e.Hint)
			continue
		}
		fmt.Println(n, "notes")
	}
	_ = c.Stop(ctx, false)
	// Output:
	// no daemon yet
	// 1 notes
	// 2 notes
	// empty_note: add: a note without text (say what to buy)
}

// notes is the daemon of ExampleDial.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) handle(_ context.Context, r *hob.Request) (any, error) {
	var p struct{ Text string }
	if err := json.Unmarshal(r.Params, &p); err != nil || r.Method != "add" {
		return nil, &hob.Error{Code: "usage", Message: r.Method + ": not a note"}
	}
	if p.Text == "" {
		return nil, &hob.Error{Code: "empty_note", Message: r.Method + ": a note without text", Hint: "say what to buy"}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, p.Text)
	return len(n.list), nil
}

// A daemon that keeps a count from one of its lives to the next, leaves by itself when nobody has
// needed it for ten minutes, and leaves in good order when it is sent SIGTERM.
func ExampleServe() {
	if len(os.Args) == 3 && os.Args[1] == "serve-counter" { // the daemon
		// Signals are the program's business: Serve leaves when its context ends.
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer cancel()
		var count atomic.Int64
		state := filepath.Join(os.Args[2], ".count")
		idle := make(chan time.Duration, 1)
		idle <- 10 * time.Minute
		err := hob.Serve(ctx, hob.Instance{Name: "counter", Dir: os.Args[2]},
			func(context.Context, *hob.Request) (any, error) { return count.Add(1), nil },
			&hob.ServeOptions{
				Build:    "v1.0.0",
				IdleExit: idle,
				Load: func(context.Context, map[string]*os.File) error { // nobody can call yet
					text, err := os.ReadFile(state)
					if errors.Is(err, os.ErrNotExist) {
						return nil
					}
					n, _ := strconv.ParseInt(string(text), 10, 64)
					count.Store(n)
					return err
				},
				Stop: func(context.Context, bool) {
					_ = os.WriteFile(state, []byte(strconv.FormatInt(count.Load(), 10)), 0o600)
				},
			})
		if err != nil {
			fmt.Fprintln(os.Stderr, err) // which is the daemon's log
		}
		return
	}

	dir, remove := tempDir()
	defer remove()
	inst := hob.Instance{Name: "counter", Dir: dir, Command: []string{os.Args[0], "serve-counter", dir}}
	for range 2 {
		c, err := hob.Dial(context.Background(), inst, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		var n int
		for range 2 {
			_ = c.Call(context.Background(), "count", nil, &n)
			fmt.Println(n)
		}
		_ = c.Stop(context.Background(), false)
		c.Close()
	}
	// Output:
	// 1
	// 2
	// 3
	// 4
}

// A daemon that speaks HTTP, on the same socket and with the same lease as one that is called.
func ExampleDialConn() {
	if len(os.Args) == 3 && os.Args[1] == "serve-http" { // the daemon
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "you asked for %s", r.URL.Path)
		})}
		_ = hob.Serve(context.Background(), hob.Instance{Name: "web", Dir: os.Args[2]}, nil, &hob.ServeOptions{
			Accept: func(l net.Listener) {
				_ = srv.Serve(l)                       // until the daemon leaves
				_ = srv.Shutdown(context.Background()) // requests under way are answered, idle connections closed
			},
		})
		return
	}

	dir, remove := tempDir()
	defer remove()
	ctx := context.Background()
	inst := hob.Instance{Name: "web", Dir: dir, Command: []string{os.Args[0], "serve-http", dir}}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return hob.DialConn(ctx, inst, nil) },
	}}
	answer, err := client.Get("http://daemon/hello") // starts it; the name is for nobody
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	client.CloseIdleConnections()
	fmt.Println(answer.StatusCode, string(body))

	c, err := hob.Dial(ctx, inst, &hob.DialOptions{NoSpawn: true}) // the methods of every daemon are there, too
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_ = c.Stop(ctx, false)
	// Output: 200 you asked for /hello
}
