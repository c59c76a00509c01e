// Command hello-http is a client and its own background web server in one program, by way of
// hob.DialConn and ServeOptions.Accept: the first request in a directory starts the server of that
// directory. There is no port: requests go over the socket that hob keeps, which only its owner can
// open.
//
//	hello-http PATH       fetch PATH, such as /hello; starts the server when there is none
//	hello-http stop       end the server
//	hello-http serve DIR  what the client starts
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hobworks/hob"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hello-http:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "serve" {
		return serve(ctx, instance(args[1]))
	}
	if len(args) != 1 {
		return errors.New("usage: hello-http PATH | hello-http stop")
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if args[0] == "stop" {
		return stop(ctx, instance(dir))
	}
	return get(ctx, instance(dir), args[0])
}

// instance is what client and server have to agree on. The server runs in "/", so it is told the
// directory.
func instance(dir string) hob.Instance {
	return hob.Instance{Name: "hello-http", Dir: dir, Command: []string{os.Args[0], "serve", dir}}
}

// serve answers until nobody has needed the server for an hour, or it is told to stop.
func serve(ctx context.Context, inst hob.Instance) error {
	srv := &http.Server{Handler: &counter{}, ReadHeaderTimeout: 10 * time.Second}
	idle := make(chan time.Duration, 1)
	idle <- time.Hour
	return hob.Serve(ctx, inst, nil, &hob.ServeOptions{IdleExit: idle, Accept: func(l net.Listener) {
		if err := srv.Serve(l); !errors.Is(err, net.ErrClosed) {
			fmt.Fprintln(os.Stderr, err) // into the server's log
		}
		// It leaves: requests under way are answered, idle connections closed.
		_ = srv.Shutdown(context.Background())
	}})
}

// counter answers with how often it was asked. The zero value has not been.
type counter struct {
	asked atomic.Int64
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s: request %d of pid %d\n", r.URL.Path, c.asked.Add(1), os.Getpid())
}

// get is any HTTP client, with another way to connect. The host's name means nothing.
func get(ctx context.Context, inst hob.Instance, path string) error {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return hob.DialConn(ctx, inst, nil) },
	}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://daemon"+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// stop asks by the methods that every daemon has.
func stop(ctx context.Context, inst hob.Instance) error {
	c, err := hob.Dial(ctx, inst, &hob.DialOptions{NoSpawn: true})
	var e *hob.Error
	if errors.As(err, &e) && e.Code == "not_running" {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Stop(ctx, false)
}
