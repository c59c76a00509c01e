package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rigMark is a variable in the environment of all that belongs to a rig: daemons inherit it from the client that starts them, also those that
// clear the rest.
const rigMark = "HOME"

// farewell is how long a daemon may take to end in good order before it is killed: some hang.
const farewell = 10 * time.Second

// rig is a peer, or hob, in a directory of its own, with state, sockets and a home that nobody else uses.
type rig struct {
	name string
	dir  string
	env  []string
	bin  string // of the worker

	ask  []string // a command that asks the daemon for a sign of life
	cold []string // a command that starts the daemon if there is none, and has talked to it when it ends; nil: there is none
	down []string // ends the daemon in good order; nil: it is killed

	serve  []string                                      // the daemon itself, in the foreground, for those that nobody starts; nil: cold does
	write  func(r *rig, argv func(i int) []string) error // has the daemon keep crowd services when it is started; nil: it keeps none
	apply  []string                                      // tells a running daemon so, where it does not look by itself
	daemon string                                        // how /proc/PID/comm of a daemon begins
	waits  string                                        // what it does of its own accord before it starts a service again
}

func (r *rig) path(name ...string) string { return filepath.Join(append([]string{r.dir}, name...)...) }

func (r *rig) command(ctx context.Context, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// time runs a command to its end and says how long it took.
func (r *rig) time(ctx context.Context, argv []string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	err := r.command(ctx, argv).Run()
	if err != nil {
		err = fmt.Errorf("%s: %q: %w", r.name, argv, err)
	}
	return time.Since(began), err
}

// start makes the daemon be there and answer.
func (r *rig) start(ctx context.Context) error {
	if r.serve == nil {
		_, err := r.time(ctx, r.cold)
		return err
	}
	cmd := r.command(context.WithoutCancel(ctx), r.serve)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // killed, as a rule: see end
	return r.answers(ctx)
}

// answers waits for the first answer of a daemon.
func (r *rig) answers(ctx context.Context) error {
	for deadline := time.Now().Add(patience); ; {
		_, err := r.time(ctx, r.ask)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return errors.Join(err, ctx.Err())
		}
		pause(ctx, time.Millisecond)
	}
}

// member is a process of a rig.
type member struct {
	pid  int
	comm string
}

// marked says whether an environment is one of a rig in dir.
func marked(environ []byte, dir string) bool {
	return filepath.IsAbs(dir) && strings.Contains("\x00"+string(environ), "\x00"+rigMark+"="+dir+"\x00")
}

// startOf reads from /proc/PID/stat when the process began, in ticks since the machine did: proc_pid_stat(5), field 22. 0: it does not say.
func startOf(stat []byte) uint64 {
	// The second field is a name, which may have anything in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(fields[19], 10, 64)
	return n
}

// members are all processes of the rig, which carry its mark, that run. All of them will be killed, so nothing that is older than
// bench is ever one of them, whatever it has in its environment, nor bench itself.
func (r *rig) members() []member {
	var all []member
	stat, _ := os.ReadFile("/proc/self/stat")
	born := startOf(stat)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		stat, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if pid == os.Getpid() || !marked(env, r.dir) || startOf(stat) < born {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		all = append(all, member{pid, strings.TrimSpace(string(comm))})
	}
	return all
}

// daemons are those that are daemons, and not services or clients.
func (r *rig) daemons() []member {
	var all []member
	for _, m := range r.members() {
		if strings.HasPrefix(m.comm, r.daemon) {
			all = append(all, m)
		}
	}
	return all
}

// end ends all that belongs to the rig, in good order where there is one.
func (r *rig) end(ctx context.Context) error {
	if r.down != nil && len(r.members()) > 0 {
		orderly, cancel := context.WithTimeout(ctx, farewell)
		defer cancel()
		_, _ = r.time(orderly, r.down)
	}
	// A process that is at its exec has no environment for a moment, so that one look which finds nobody is not enough.
	for quiet, deadline := 0, time.Now().Add(patience); quiet < 3; time.Sleep(time.Millisecond) {
		all := r.members()
		if len(all) == 0 {
			quiet++
			continue
		}
		quiet = 0
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: pid %d (%s) does not end", r.name, all[0].pid, all[0].comm)
		}
		for _, m := range all {
			_ = unix.Kill(m.pid, unix.SIGKILL)
		}
	}
	return nil
}

// pss is what the daemons hold, their share of what is shared, in bytes.
func (r *rig) pss() (sum int64, err error) {
	for _, m := range r.daemons() {
		n, err := field(m.pid, "smaps_rollup", "Pss:")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
