// Command httpd is a small web server to try hob with: it says where it listens, answers every
// request with its pid and a count, logs it, and leaves in good order when it is sent SIGTERM.
//
//	hob run web -- httpd
//	hob wait web --for 'log:listening on'
//
// It listens on 127.0.0.1 only, at $PORT or at a port that is free. With -get URL it is a client
// instead, and prints the answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	url := flag.String("get", "", "fetch `URL` and print the answer")
	flag.Parse()
	// hob has the time of every line already.
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	do := serve
	if *url != "" {
		do = func() error { return get(*url) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "httpd:", err)
		os.Exit(1)
	}
}

// serve answers until SIGTERM or SIGINT.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	if err != nil {
		return err
	}
	log.Printf("listening on http://%s", l.Addr())
	server := &http.Server{Handler: &counter{}, ReadHeaderTimeout: 10 * time.Second}
	left := make(chan error, 1)
	go func() {
		<-ctx.Done()
		log.Print("leaving")
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		left <- server.Shutdown(grace)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-left
}

// counter answers with how often it was asked. The zero value has not been.
type counter struct {
	asked atomic.Int64
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.asked.Add(1)
	log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
	fmt.Fprintf(w, "pid %d, request %d\n", os.Getpid(), n)
}

func get(url string) error {
	client := &http.Client{Timeout: 10 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, r.Status)
	}
	_, err = io.Copy(os.Stdout, r.Body)
	return err
}
