package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob/internal/api"
)

func (a *app) cmdCheck() *cobra.Command {
	return a.verb("check", "Read hob.toml or Procfile and show what it comes to", none(a.check))
}

func (a *app) check(ctx context.Context) error {
	var plan api.Plan
	text, err := a.askProgram(ctx, &plan, "plan")
	if err != nil {
		return err
	}
	if a.json {
		_, err := a.stdout.Write(text)
		return err
	}
	for i, s := range plan.Services {
		if i > 0 {
			if _, err := fmt.Fprintln(a.stdout); err != nil {
				return err
			}
		}
		t := a.planned(s)
		t.color = a.colored()
		if err := t.write(a.stdout); err != nil {
			return err
		}
	}
	for _, note := range plan.Notes {
		a.words("hob: note: %s", note)
	}
	a.say("%s: %d services, no errors", plan.File, len(plan.Services))
	return nil
}

// planned shows a service as it would be started.
func (a *app) planned(s api.PlannedService) *table {
	t := &table{}
	t.row("name", s.Name)
	t.row("command", quote(s.Cmd))
	t.row("directory", s.Dir)
	var needs []string
	for _, n := range s.Needs {
		needs = append(needs, n.Name+" "+n.For)
	}
	optional(t, "needs", strings.Join(needs, ", "))
	if s.Ready != nil {
		t.row("ready", readyWords(s.Ready))
	}
	if s.Listen != nil {
		t.row("listen", listenWords(s.Listen))
	}
	if s.IdleMS > 0 {
		t.row("idle", "stopped when nobody has needed it for "+(time.Duration(s.IdleMS)*time.Millisecond).String())
	}
	if s.Alive != nil {
		t.row("alive", aliveWords(s.Alive))
	}
	if s.TTY {
		t.row("terminal", "its own, for hob attach")
	}
	t.row("restart", s.Restart)
	t.row("stop", fmt.Sprintf("%s, SIGKILL after %v", s.Stop.Signal, time.Duration(s.Stop.TimeoutMS)*time.Millisecond))
	t.row("log", fmt.Sprintf("%s, and %d full ones before it", sizeAsWritten(s.Log.MaxBytes), s.Log.Keep))
	env := s.Env
	if s.Port {
		env = append(env, "PORT")
	}
	optional(t, "environment", strings.Join(env, " "))
	if !s.Auto {
		t.row("auto", "false: only by name")
	}
	return t
}

// listenWords says what becomes of the connections to a service's socket.
func listenWords(l *api.PlannedListen) string {
	switch {
	case !l.Proxy:
		return l.Addr + ", passed as descriptor 3"
	case l.To != "":
		return l.Addr + ", forwarded to " + l.To
	}
	return l.Addr + ", forwarded to where it is ready, or to $PORT"
}

// aliveWords says how it is seen that a service works.
func aliveWords(a *api.PlannedAlive) string {
	how := quote(a.Exec)
	switch {
	case a.TCP != "":
		how = "tcp " + a.TCP
	case a.HTTP != "":
		how = a.HTTP
	}
	return fmt.Sprintf("%s, every %v; unready after %d failures", how, time.Duration(a.EveryMS)*time.Millisecond, a.Fails)
}

// readyWords says how a service tells that it is ready.
func readyWords(r *api.PlannedReady) string {
	how := ""
	switch {
	case r.Log != "":
		how = "a line that matches " + r.Log
	case r.TCP != "":
		how = "tcp " + r.TCP
	case r.HTTP != "":
		how = r.HTTP
	case len(r.Exec) > 0:
		how = quote(r.Exec)
	case r.Notify:
		how = "sd_notify"
	default:
		how = fmt.Sprintf("a newline on descriptor %d", r.FD)
	}
	return fmt.Sprintf("%s, within %v", how, time.Duration(r.TimeoutMS)*time.Millisecond)
}

// decode reads the document of a program into doc.
func decode(text []byte, doc any) error {
	if err := json.Unmarshal(text, doc); err != nil {
		return fmt.Errorf("read the answer of hobd: %w", err)
	}
	return nil
}
