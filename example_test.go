package hob_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/hobworks/hob"
)

// A whole program: client and daemon in one binary, which executes itself with a hidden verb.
// With run as its main, "greet" would be a command with a server of its own in each directory.
func Example() {
	args := os.Args[1:]
	if len(args) != 2 || args[0] != "serve-greet" { // under go test, be a client in a new directory
		dir, remove := tempDir()
		defer remove()
		defer run("stop", dir)
		args = []string{"hello", dir}
	}
	if err := run(args[0], args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "greet:", err)
	}
	// Output: Hello, Ada.
}

func run(verb, dir string) error {
	ctx := context.Background()
	// The daemon runs in "/": it has to be told the directory, by its absolute path.
	inst := hob.Instance{Name: "example", Dir: dir, Command: []string{os.Args[0], "serve-greet", dir}}
	if verb == "serve-greet" {
		return hob.Serve(ctx, inst, greet, nil)
	}
	c, err := hob.Dial(ctx, inst, nil) // starts the daemon when there is none
	if err != nil {
		return err
	}
	defer c.Close()
	if verb == "stop" {
		return c.Stop(ctx, false)
	}
	var answer string
	if err := c.Call(ctx, "greet", "Ada", &answer); err != nil {
		return err
	}
	fmt.Println(answer)
	return nil
}

func greet(_ context.Context, r *hob.Request) (any, error) {
	var name string
	if err := json.Unmarshal(r.Params, &name); err != nil || r.Method != "greet" {
		return nil, &hob.Error{Code: "usage", Message: r.Method + ": not a greeting"}
	}
	return "Hello, " + name + ".", nil
}

// tempDir is a project to try things in.
func tempDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "hob-example-")
	if err != nil {
		panic(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}
