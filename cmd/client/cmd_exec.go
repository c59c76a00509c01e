package client

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

const execForm = "hob exec NAME -- CMD…"

func (a *app) cmdExec() *cobra.Command {
	dash := -1
	c := a.verb("exec NAME -- CMD…", "Run a command with the environment and directory of a service", func(ctx context.Context, args []string) error {
		return a.exec(ctx, args, dash)
	})
	c.Example = `  hob exec db -- psql
  hob exec api -- env`
	do := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		dash = c.ArgsLenAtDash()
		return do(c, args)
	}
	c.ValidArgsFunction = a.serviceNames
	return c
}

// exec replaces hob by the command: its terminal, its signals and its exit status are the command's own.
func (a *app) exec(ctx context.Context, args []string, dash int) error {
	if dash != 1 || len(args) < 2 || args[1] == "" {
		return usage(execForm, "exec: one name, then \"--\", then a command")
	}
	e, err := a.environment(ctx, args[0])
	if err != nil {
		return err
	}
	if err := os.Chdir(e.Dir); err != nil {
		return fmt.Errorf("exec: enter the directory of %s: %w", args[0], err)
	}
	env := lastWins(append(e.Env, "PWD="+e.Dir))
	// The command is looked up where the service would find it.
	for _, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return err
			}
		}
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return &hob.Error{Code: api.CodeFailed, Message: fmt.Sprintf("exec: %v", err), Err: err}
	}
	return fmt.Errorf("exec %s: %w", path, syscall.Exec(path, args[1:], env))
}

// lastWins keeps the last value of each variable, where the last one was set.
func lastWins(env []string) []string {
	at := map[string]int{}
	for i, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		at[name] = i
	}
	var out []string
	for i, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); at[name] == i {
			out = append(out, kv)
		}
	}
	return out
}
