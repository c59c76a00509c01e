// Package client is the command line of hob: it reads arguments, asks hobd, and shows what came
// of it. Data goes to stdout and words to stderr, so that a script can read the one and a person
// the other; the exit status says which kind of failure it was. One file is one verb.
//
// It never opens the socket itself, never signals a process, and never removes or creates a
// file, but for the hob.toml of hob init: all of that belongs to package hob and to the daemon.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// Main runs hob with the arguments after the program's name, and returns its exit status. It
// reads the environment and the working directory of the process, and may change how the process
// reacts to SIGINT and SIGTERM. Call it once.
func Main(args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr, began: time.Now(), once: &once{}}
	root := a.root(args)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if !a.understood { // the form of a complaint about the arguments does not depend on that
		a.json = wantsJSON(args)
	}
	code := a.finish(err)
	a.note("hob: %v, exit %d", time.Since(a.began).Round(10*time.Microsecond), code)
	return code
}

// app is one call of hob.
type app struct {
	stdout, stderr io.Writer
	flags
	began      time.Time
	called     string // the verb, and what it was called for
	understood bool   // the arguments were, so an error is not about how they were typed

	*once

	notify func(method string, params json.RawMessage) // takes what hobd tells besides answers; may be nil
}

// once is what is said only once, also by copies of an app.
type once struct {
	remarked atomic.Bool // that hobd is another build
	leftOut  atomic.Bool // which variables can't be carried
}

// flags are those that every verb has.
type flags struct {
	dir     string
	json    bool
	timeout time.Duration
	noSpawn bool
	quiet   bool
	verbose bool
	color   string
}

// action is what a verb does.
type action func(ctx context.Context, args []string) error

// verb makes a command. use is its name and the form of its arguments.
func (a *app) verb(use, short string, do action) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs, DisableFlagsInUseLine: true,
		ValidArgsFunction: nothing,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel, err := a.begin(c)
			if err != nil {
				return err
			}
			defer cancel()
			a.called = strings.Join(append([]string{strings.TrimPrefix(c.CommandPath(), "hob ")}, args...), " ")
			return do(ctx, args)
		},
	}
}

// begin checks the common flags. What fails after it was not typed wrong, unless it says so.
func (a *app) begin(c *cobra.Command) (context.Context, context.CancelFunc, error) {
	a.understood = true
	if a.color != "auto" && a.color != "always" && a.color != "never" {
		return nil, nil, usage("--color auto, always or never", "--color %s: not a way to colour", a.color)
	}
	a.noSpawn = a.noSpawn || wanted("HOB_NO_SPAWN")
	if !c.Flags().Changed("timeout") {
		return c.Context(), func() {}, nil
	}
	if a.timeout <= 0 {
		return nil, nil, usage("", "--timeout %v: not a time to wait", a.timeout)
	}
	ctx, cancel := context.WithTimeout(c.Context(), a.timeout)
	return ctx, cancel, nil
}

// none refuses arguments of a verb that takes none.
func none(do func(ctx context.Context) error) action {
	return func(ctx context.Context, args []string) error {
		if len(args) > 0 {
			return usage("", "unexpected argument %q", args[0])
		}
		return do(ctx)
	}
}

// say tells a person what was done.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		a.words(format, args...)
	}
}

// note tells a person who asked for more.
func (a *app) note(format string, args ...any) {
	if a.verbose {
		a.words(format, args...)
	}
}

// words writes a line to stderr, harmless to a terminal whatever is in it.
func (a *app) words(format string, args ...any) {
	fmt.Fprintln(a.stderr, harmless(fmt.Sprintf(format, args...)))
}

// wantsJSON looks for --json among the arguments before "--".
func wantsJSON(args []string) bool {
	json := false
	for _, arg := range args {
		switch arg {
		case "--":
			return json
		case "--json", "--json=true":
			json = true
		case "--json=false":
			json = false
		}
	}
	return json
}
