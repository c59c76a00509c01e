// Command greet is a client and its own background server in one program, by way of hob.Dial and
// hob.Serve: the first greeting in a directory starts the server of that directory, and later ones
// are counted by it.
//
//	greet NAME      greet NAME; starts the server when there is none
//	greet stop      end the server
//	greet serve DIR what the client starts
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/hobworks/hob"
)

func main() {
	// The daemon leaves in good order when its context ends: signals are the program's business.
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "greet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "serve" {
		return hob.Serve(ctx, instance(args[1]), greeter(), nil)
	}
	if len(args) != 1 {
		return errors.New("usage: greet NAME | greet stop")
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	c, err := hob.Dial(ctx, instance(dir), &hob.DialOptions{NoSpawn: args[0] == "stop"})
	var e *hob.Error
	if errors.As(err, &e) && e.Code == "not_running" {
		return nil // and stop has nothing to do
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if args[0] == "stop" {
		return c.Stop(ctx, false)
	}
	var greeting string
	if err := c.Call(ctx, "greet", args[0], &greeting); err != nil {
		return err
	}
	fmt.Println(greeting)
	return nil
}

// instance is what client and server have to agree on. The server runs in "/", so it is told the
// directory.
func instance(dir string) hob.Instance {
	return hob.Instance{Name: "greet", Dir: dir, Command: []string{os.Args[0], "serve", dir}}
}

// greeter answers the one method that there is.
func greeter() hob.Handler {
	var count atomic.Int64
	return func(_ context.Context, r *hob.Request) (any, error) {
		var name string
		if r.Method != "greet" || json.Unmarshal(r.Params, &name) != nil {
			return nil, &hob.Error{Code: "usage", Message: r.Method + ": not a greeting"}
		}
		return fmt.Sprintf("hello, %s: greeting %d of pid %d", name, count.Add(1), os.Getpid()), nil
	}
}
