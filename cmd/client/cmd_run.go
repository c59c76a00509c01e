package client

import (
	"context"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

// runFlags are those of run.
type runFlags struct {
	wait, replace, noWait, tty bool
	restart                    string
	declaration
}

func (a *app) cmdRun() *cobra.Command {
	var o runFlags
	dash := -1
	c := a.verb("run [NAME] [--tty] [--wait] [--replace] [--restart POLICY] -- CMD…", "Run a command as a service", func(ctx context.Context, args []string) error {
		return a.run(ctx, args, dash, o)
	})
	c.Example = `  hob run web -- npm run dev
  hob run -- python3 -m http.server 8000
  hob run --wait test -- go test ./...
  hob run --replace web -- npm start`
	c.Flags().BoolVar(&o.wait, "wait", false, "stay, show its output, and exit with its status")
	c.Flags().BoolVar(&o.replace, "replace", false, "stop what runs under that name first")
	c.Flags().BoolVar(&o.noWait, "no-wait", false, "return as soon as it is executed")
	c.Flags().BoolVar(&o.tty, "tty", false, "give it a terminal, for hob attach; with --wait this one is attached")
	o.declaration.flags(c)
	c.Flags().StringVar(&o.restart, "restart", "", "start it again when it ends: no, on-failure or always (`policy`); default on-failure, with --wait no")
	do := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		dash = c.ArgsLenAtDash()
		return do(c, args)
	}
	return c
}

func (a *app) run(ctx context.Context, args []string, dash int, o runFlags) error {
	if err := o.declaration.check("run"); err != nil {
		return err
	}
	p, err := a.runParams(args, dash, o, "run")
	if err != nil {
		return err
	}
	o.declaration.apply(&p)
	var d *api.Daemon
	var r api.RunResult
	err = a.with(ctx, a.dial, func(c *hob.Client) (err error) {
		if r, err = api.ServiceRun.Call(ctx, c, p); err == nil {
			d = a.daemonOf(ctx, c)
		}
		return err
	})
	if o.wait {
		if err != nil {
			// One that ended before it was looked at has a log and an exit status all the same.
			s, died := a.died(p.Name, err)
			if !died {
				return err
			}
			r.Service = s
		} else if o.tty {
			return a.stayAttached(ctx, r)
		}
		return a.stay(ctx, r)
	}
	if err != nil {
		return a.withLastWords(p.Name, err)
	}
	already := ""
	if r.Already {
		already = "already "
	}
	a.say("%s: %s%s", p.Name, already, outcome(r.Service))
	return a.show(newDocument(d, []api.Service{r.Service}, []string{p.Name}))
}

// runParams reads NAME and CMD off the arguments. dash is how many stand before "--".
func (a *app) runParams(args []string, dash int, o runFlags, verb string) (p api.RunParams, err error) {
	form := "hob " + verb + " [NAME] -- CMD…"
	if dash < 0 || dash == len(args) || args[dash] == "" {
		return p, usage(form, "%s: no command after \"--\"", verb)
	}
	if dash > 1 {
		return p, usage(form, "%s: more than one name before \"--\": %q", verb, args[:dash])
	}
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return p, usage("have a script with that name in it, and run that", "%s: the argument %q is not UTF-8", verb, arg)
		}
	}
	if o.wait && o.noWait {
		return p, usage("", "run: --wait and --no-wait contradict each other")
	}
	if err := service.CheckRestart(o.restart); err != nil {
		return p, usage("--restart no, --restart on-failure or --restart always", "run: %v", err)
	}
	if o.wait && o.restart == "" {
		o.restart = string(service.RestartNo) // its end is what is waited for
	}
	p = api.RunParams{Cmd: args[dash:], Env: a.environ(), Replace: o.replace, NoWait: o.noWait || o.wait,
		Restart: o.restart, Color: a.colored(), TTY: o.tty}
	p.Name = filepath.Base(p.Cmd[0])
	if dash == 1 {
		p.Name = args[0]
	}
	if err := service.CheckName(p.Name); err != nil {
		hint := ""
		if dash == 0 {
			hint = "give it a name: hob " + verb + " NAME -- CMD…"
		}
		return p, usage(hint, "%s: %v", verb, err)
	}
	if p.Dir, err = a.workDir(); err == nil && !utf8.ValidString(p.Dir) {
		return p, &hob.Error{Code: "no_project", Message: fmt.Sprintf("%s: the directory %q is not UTF-8", verb, p.Dir), Hint: "with a hob.toml in it, hob up starts its services"}
	}
	return p, err
}

// died gives the service whose start failed with err because it ended at once: it was executed,
// so there is an exit to tell. A hobd that could not be started is another matter.
func (a *app) died(name string, err error) (api.Service, bool) {
	if !answered(err, api.CodeStartFailed) {
		return api.Service{}, false
	}
	_, disk, derr := a.disk()
	if derr != nil {
		return api.Service{}, false
	}
	found, derr := pick(disk, []string{name})
	if derr != nil {
		return api.Service{}, false
	}
	s := fromDisk(found)[0]
	return s, a.justEnded(s)
}

// justEnded reports that a run of the service has ended since hob was called. An earlier one says nothing about what it was called for.
func (a *app) justEnded(s api.Service) bool { return s.Exit != nil && !s.Exit.At.Before(a.began) }

// wordsKept is how many lines of its log are shown for a service that failed.
const wordsKept = 20

// withLastWords shows what a service that ended at once has said, before the error does.
func (a *app) withLastWords(name string, err error) error {
	if s, died := a.died(name, err); died {
		a.lastWords(s)
	}
	return err
}

// lastWords shows the end of the log of a service's last run.
func (a *app) lastWords(s api.Service) {
	inst, err := a.instance()
	if a.json || s.LogStart == nil || err != nil {
		return
	}
	lines, err := tail(inst.Path("log", s.Name), *s.LogStart, s.LogEnd, wordsKept)
	if err != nil {
		a.note("read the log of %s: %v", s.Name, err)
	}
	for _, line := range lines {
		a.words("    %s", line)
	}
}
