package hob

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hobworks/hob/internal/instance"
)

// Instance names one daemon: a program's, for a project. The same Name and directory give the
// same daemon from every shell, editor or cron job, whatever the environment; a symlink or ".."
// on the way to the directory makes no difference.
type Instance struct {
	// Name tells the daemons of different programs apart: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}.
	// The empty name is hob's own.
	Name string

	// Dir is the project's directory; "" is the working directory. It is taken as it is: no
	// search upwards.
	Dir string

	// Command starts the daemon: a program that calls Serve with the same Name and Dir. It runs
	// in "/", in its own session, with an environment of a few variables only. Command[0] is
	// made absolute if it has a slash, else looked up in PATH. Only Dial needs it.
	Command []string
}

// Status describes a daemon. State is the verdict of the probe: "ready" when it serves,
// otherwise one of those that Error has.
type Status struct {
	State       string    `json:"state"`
	Pid         int       `json:"pid"`
	ID          string    `json:"id"`
	Project     string    `json:"project"`
	Socket      string    `json:"socket"`
	Lock        string    `json:"lock"`
	Log         string    `json:"log"`
	Version     string    `json:"version"`
	Protocol    int       `json:"protocol"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	Connections int       `json:"connections"`
	Foreground  bool      `json:"foreground,omitempty"` // a person or a service manager started it, not a client
}

// Request is one call of a client.
type Request struct {
	Method string          // as the client called it; never one that begins with "hob."
	Params json.RawMessage // nil when there were none

	// Handover is closed when the daemon is about to become another version of itself, which waits for the calls that are under way: see
	// ServeOptions.Handover. A call that only waits for something returns an *Error with the Code "again" then. It is made again, to the next version, as if it
	// had come there in the first place; its client sees nothing of it.
	Handover <-chan struct{}

	// Notify sends a notification to the client that made the call, also when that was answered. The
	// error says that its connection is gone. Any goroutine may call it.
	Notify func(method string, params any) error
}

func (i Instance) resolve() (instance.Instance, error) {
	dir := i.Dir
	if dir == "" {
		dir = "."
	}
	if !validName(i.Name) {
		return instance.Instance{}, &Error{Code: "usage",
			Message: fmt.Sprintf("instance name %q: not [A-Za-z0-9][A-Za-z0-9_.-]{0,63}", i.Name)}
	}
	root, err := instance.OpenRoot(dir)
	if err != nil {
		return instance.Instance{}, &Error{Code: "no_project", Message: err.Error(), Err: err}
	}
	inst, err := instance.New(root, i.Name)
	if err != nil {
		return instance.Instance{}, &Error{Code: "no_state_dir", Message: err.Error(), Err: err,
			Hint: "set HOB_STATE_DIR to an absolute path of a directory of yours"}
	}
	return inst, nil
}

func validName(s string) bool {
	if len(s) > 64 {
		return false
	}
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return true
}

// status is what can be said of an instance without asking anybody.
func status(inst instance.Instance) Status {
	return Status{
		ID: inst.ID, Project: inst.Root.Path, Socket: inst.Path(instance.SocketName),
		Lock: inst.LockPath(), Log: inst.Path(instance.DaemonLog),
	}
}

// absolute makes the path of a program independent of the working directory.
func absolute(program string) (string, error) {
	if program == filepath.Base(program) {
		return lookPath(program)
	}
	abs, err := filepath.Abs(program)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(abs); err != nil {
		return "", err
	}
	return abs, nil
}

// lookPath finds a bare name in PATH. os/exec would do the same, at a cost on every start.
func lookPath(name string) (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue // never a program of the working directory
		}
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not on PATH", name)
}
