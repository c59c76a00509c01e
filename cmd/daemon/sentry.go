package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/sentry"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
	"github.com/hobworks/hob/internal/version"
)

const (
	// proven is how long a hobd has to serve not to be one of a failing line.
	proven = time.Minute

	// early is when a hobd has ended that its sentry came to know nothing of.
	early = time.Second

	// headStart is what the client has that replaces a hobd, perhaps by another version, and what a service manager has.
	headStart = 10 * time.Second

	// rootGrace is how long the project's directory may be gone: as long as hobd itself would stay.
	rootGrace = 30 * time.Second
)

// watchman is the sentry of one project.
type watchman struct {
	project string
	post    *sentry.Post
	log     *slog.Logger
	failed  int       // hobds in a row that ended by themselves
	early   bool      // hobd was gone as soon as this sentry was up
	managed bool      // a manager starts the next one, if it does
	gone    time.Time // since when the project's directory is; zero: it is there

	program func() (string, error) // that is to be started
}

// sentryMain is the program hobd sentry. It returns when hobd has no need of it any more, or another hobd has a
// sentry of its own.
func sentryMain(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("hobd "+sentryVerb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	project := flags.String("project", "", "the project's `directory`")
	failed := flags.Int("failed", 0, "how many daemons have ended by themselves, one after the other")
	managed := flags.Bool("managed", false, "hobd is started by a service manager, which is to have the first try")
	if flags.Parse(args) != nil {
		return 2
	}
	post, err := sentry.Take()
	if err != nil || *project == "" {
		fmt.Fprintln(stderr, "hobd: the sentry is started by hobd, for which it keeps what services have written")
		return 2
	}
	defer post.Close()
	began := time.Now()
	end := post.Watch()
	if end == sentry.Dismissed {
		return 0
	}
	fault.Point("sentry.orphaned")
	w := &watchman{project: *project, post: post, log: newLogger(stderr).With("by", sentryVerb), failed: *failed,
		early: time.Since(began) < early, managed: *managed, program: nextProgram}
	if time.Since(began) >= proven {
		w.failed = 0
	}
	if !w.relieve(end) {
		return 1
	}
	return 0
}

// relieve brings the next hobd.
func (w *watchman) relieve(end sentry.End) bool {
	r := sentry.Relief{Need: w.need, Call: w.call, Log: w.log}
	pid, exit := w.post.Daemon()
	upgrading, blame := w.post.Upgrade()
	switch {
	case end == sentry.Retired:
		r.HeadStart = headStart
	case blame:
		w.log.Error("the program that hobd has become is no good, the one before is started again", "pid", pid, "how", exit.String())
		w.program = ownProgram
		return r.Run()
	case upgrading:
		w.log.Warn("hobd is gone in the middle of an upgrade", "pid", pid, "how", exit.String())
		w.program = w.intended
	default:
		w.log.Warn("hobd is gone without a word", "pid", pid, "how", exit.String())
		if w.managed {
			r.HeadStart = headStart
		}
	}
	// A hobd that somebody has killed says nothing about the next one; one that ended by itself does, and so does one that was
	// gone before its sentry could look at it.
	byItself := exit.Known && exit.Signal == 0 || !exit.Known && w.early
	if byItself && end != sentry.Retired {
		r.Failed = w.failed
		w.failed++
	}
	return r.Run()
}

// need looks at what lives and at what was written down.
func (w *watchman) need() sentry.Need {
	// What can't be looked at is not gone: see instance.Root.Gone.
	if _, err := instance.OpenRoot(w.project); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		w.gone = time.Time{}
	} else if w.gone.IsZero() {
		w.gone = time.Now()
	}
	all, err := w.written()
	switch {
	case !w.gone.IsZero() && time.Since(w.gone) >= rootGrace:
		return sentry.Nothing // no hobd can be started for a project that is not there
	case w.succeeded():
		return sentry.Nothing
	case w.post.Writers():
		return sentry.Living
	case err != nil || slices.ContainsFunc(all, mustStay):
		return sentry.Waiting
	}
	return sentry.Nothing
}

// call is an ordinary client's. Without start, a hobd that somebody else starts is waited for.
func (w *watchman) call(start bool, failed int) error {
	ctx := context.Background()
	c, err := w.dial(ctx, start, failed)
	if err != nil {
		return err
	}
	defer c.Close()
	fault.Point("sentry.connected")
	// Any answer will do: there is none before what lives is adopted and the next sentry has its ends.
	err = c.Call(ctx, api.ServiceWait.Name, api.WaitParams{}, nil)
	if e, ok := errors.AsType[*hob.Error](err); ok && (e.Code == "lost" || e.Code == "timeout") {
		return err
	}
	if sentry.Started(c.Welcome().Pid) && unwanted(ctx, c) {
		_ = c.Stop(ctx, true)
	}
	return nil
}

func (w *watchman) dial(ctx context.Context, start bool, failed int) (*hob.Client, error) {
	o := &hob.DialOptions{Client: "hobd " + sentryVerb, Build: version.String(), NoLease: true, NoSpawn: !start}
	path, err := w.program()
	if err != nil {
		return nil, err
	}
	command := []string{path, "--project", w.project}
	if n := max(w.failed, failed); n > 0 {
		command = append(command, "--failed", strconv.Itoa(n))
	}
	return hob.Dial(ctx, hob.Instance{Dir: w.project, Command: command}, o)
}

// unwanted reports that nothing runs and nobody wants it to. Between the look of need and the start of the next hobd
// somebody else's can have come, stopped everything and left, for "hob down": what was started then is not for
// long (TestDownAfterAKillIsTheEnd). That hobd is asked: its files may have been removed.
func unwanted(ctx context.Context, c *hob.Client) bool {
	r, err := api.ServiceList.Call(ctx, c, api.NamesParams{})
	return err == nil && !slices.ContainsFunc(r.Services, func(s api.Service) bool {
		return service.State(s.State).Active() || s.Pid != 0 || s.Want == string(service.Up)
	})
}

// succeeded reports that a hobd which is gone again had a sentry of its own already: two of them never stay.
func (w *watchman) succeeded() bool {
	inst, err := w.instance()
	if err != nil {
		return false
	}
	who, err := os.ReadFile(inst.Path(sentryName))
	return err == nil && sentry.Other(string(who))
}

// written are the services as they were last written down.
func (w *watchman) written() ([]service.Status, error) {
	inst, err := w.instance()
	if err != nil {
		return nil, err
	}
	return store.Read(inst)
}

func (w *watchman) instance() (instance.Instance, error) {
	root, err := instance.OpenRoot(w.project)
	if err != nil {
		return instance.Instance{}, err
	}
	return instance.New(root, "")
}
