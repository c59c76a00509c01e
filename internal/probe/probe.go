// Package probe finds out who is there: socket → ping → pid file → liveness. It gives a verdict
// with its evidence, so that an error can say what is wrong in one sentence. It reads only: it
// never writes, locks, unlinks, signals or spawns.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// Verdict is one word for what was found.
type Verdict string

// The verdicts.
const (
	Ready        Verdict = "ready"        // my uid, said welcome, serves this root
	Draining     Verdict = "draining"     // said that it is leaving
	Busy         Verdict = "busy"         // its backlog is full, so it is alive
	Unresponsive Verdict = "unresponsive" // connected, and no answer in time
	Starting     Verdict = "starting"     // no live socket, the lock is held
	Stopping     Verdict = "stopping"     // the same, and the record says that it is leaving
	Stale        Verdict = "stale"        // files are left, the lock is free
	Absent       Verdict = "absent"       // nothing there
	Foreign      Verdict = "foreign"      // another user's socket, directory or process
	Denied       Verdict = "denied"       // EACCES or EPERM: never "dead"
	Skewed       Verdict = "skewed"       // its protocol range does not meet mine
	Collision    Verdict = "collision"    // it serves another directory of the same path
	Lost         Verdict = "lost"         // the connection ended before a whole reply: ask again
	Unknown      Verdict = "unknown"      // an error of another kind, see Err
)

// Report is a verdict and its evidence.
type Report struct {
	Verdict Verdict
	Err     error   // what went wrong, where something did
	Pid     int     // of the peer, else, by Probe, of whoever has the lock; 0: not known. Not proof of anything
	State   byte    // process state of Pid, see proc_pid_stat(5); 0: no such process
	Command string  // name of Pid's program
	Welcome Welcome // with Ready
	Reason  string  // with Draining

	// Filled in by Probe only.
	Held     bool // the lock or the guard is held
	Holder   int  // pid that took it, where that can be told
	Socket   bool // something lies at the socket's path
	PidFile  int  // what the pid file says; 0: nothing to be believed
	Record   lock.Record
	Recorded bool
}

// helloTimeout is how long a daemon that is not seen to be stopped may take to answer hello.
// It answers on a path that never waits on work; the rest is a busy machine.
const helloTimeout = 8 * time.Second

// stopTimeout is when a silent peer is looked at: one that is stopped will not answer.
const stopTimeout = 2 * time.Second

// stopAgain is when it is looked at once more: where this process did not run for a while, a peer that was stopped for a moment only may be met
// in it.
const stopAgain = 200 * time.Millisecond

// Contact connects to the instance's socket and says hello. With Ready the connection is the
// caller's to use and close; with every other verdict there is none. It blocks until the
// daemon answers, ctx is done, or the daemon is seen to be stopped.
func Contact(ctx context.Context, inst instance.Instance, h Hello, o ipc.ConnOptions) (*ipc.Conn, Report) {
	state, err := inst.OpenState(false)
	if err != nil {
		return nil, dirReport(err)
	}
	defer state.Close()
	dir, err := inst.OpenDir(state, false)
	if err != nil {
		return nil, dirReport(err)
	}
	defer dir.Close()
	c, err := ipc.Connect(ctx, dir, instance.SocketName)
	if err != nil {
		return nil, connectReport(err)
	}
	creds, err := ipc.PeerCreds(c)
	if err != nil || creds.Uid != os.Geteuid() {
		c.Close()
		if err == nil {
			err = &instance.OwnerError{Path: inst.Path(instance.SocketName), Owner: creds.Uid, Want: os.Geteuid(),
				Hint: "a process of that user answers there: remove the socket, or set HOB_STATE_DIR"}
		}
		return nil, Report{Verdict: Foreign, Err: err, Pid: creds.Pid}
	}
	return Greet(ctx, ipc.NewConn(context.Background(), c, o), creds.Pid, h)
}

// Greet says hello on a connection and closes it unless the answer is a welcome for h.Root.
// pid is the peer's, for the report.
func Greet(ctx context.Context, c *ipc.Conn, pid int, h Hello) (*ipc.Conn, Report) {
	reply, err := hello(ctx, c, pid, h)
	rep := replyReport(reply, err, h)
	if rep.Pid == 0 {
		rep.Pid = pid
	}
	if rep.Verdict != Ready {
		c.Close()
		c = nil
	}
	if rep.Verdict == Unresponsive {
		rep.look()
	}
	return c, rep
}

// hello waits in two parts: a daemon that is stopped is not waited for to the end.
func hello(ctx context.Context, c *ipc.Conn, pid int, h Hello) (HelloReply, error) {
	ctx, patience := WithPatience(ctx, helloTimeout)
	defer patience.Stop()
	watch := time.AfterFunc(stopTimeout, func() {
		if isStopped(pid) && pause(ctx, stopAgain) && isStopped(pid) {
			patience.Stop()
		}
	})
	defer watch.Stop()
	reply, err := HelloMethod.Call(ctx, c, h)
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	return reply, err
}

func isStopped(pid int) bool {
	info, err := process.Stat(pid)
	return err == nil && (info.State == 'T' || info.State == 't')
}

// pause is false when ctx ends before d is over.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func replyReport(r HelloReply, err error, h Hello) Report {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Report{Verdict: Unresponsive, Err: err}
	case errors.Is(err, ipc.ErrClosed):
		return Report{Verdict: Lost, Err: err}
	case err != nil:
		return Report{Verdict: Unknown, Err: err}
	case r.Draining != nil:
		return Report{Verdict: Draining, Reason: r.Draining.Reason}
	case r.Incompatible != nil:
		return Report{Verdict: Skewed, Err: fmt.Errorf("the daemon (build %s) speaks protocol %d to %d, this client %d to %d",
			r.Incompatible.Build, r.Incompatible.Protocol[0], r.Incompatible.Protocol[1], h.Protocol[0], h.Protocol[1])}
	case r.RootMismatch != nil:
		return Report{Verdict: Collision, Err: collision(r.RootMismatch.Root, h.Root)}
	case r.Welcome == nil:
		return Report{Verdict: Unknown, Err: errors.New("the daemon answered hello with nothing that this client knows")}
	case !r.Welcome.Root.Same(h.Root):
		return Report{Verdict: Collision, Err: collision(r.Welcome.Root, h.Root), Pid: r.Welcome.Pid}
	}
	return Report{Verdict: Ready, Welcome: *r.Welcome, Pid: r.Welcome.Pid}
}

func collision(theirs, ours instance.Root) error {
	return fmt.Errorf("the daemon serves %s (device %d, inode %d), not this %s (device %d, inode %d)",
		theirs.Path, theirs.Dev, theirs.Ino, ours.Path, ours.Dev, ours.Ino)
}

func dirReport(err error) Report {
	var owner *instance.OwnerError
	var mode *instance.ModeError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Report{Verdict: Absent}
	case errors.As(err, &owner), errors.As(err, &mode):
		return Report{Verdict: Foreign, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return Report{Verdict: Denied, Err: err}
	}
	return Report{Verdict: Unknown, Err: err}
}

func connectReport(err error) Report {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return Report{Verdict: Busy, Err: err}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return Report{Verdict: Denied, Err: err}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTSOCK),
		errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.EISDIR), errors.Is(err, ipc.ErrSymlink):
		return Report{Verdict: Absent}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Report{Verdict: Unresponsive, Err: err}
	}
	return Report{Verdict: Unknown, Err: err}
}

// Probe is Contact and, where nobody answers, the look at lock, guard, record and pid file. It
// closes the connection.
func Probe(ctx context.Context, inst instance.Instance, h Hello) Report {
	c, rep := Contact(ctx, inst, h, ipc.ConnOptions{})
	for range 8 {
		if rep.Verdict != Lost {
			break
		}
		c, rep = Contact(ctx, inst, h, ipc.ConnOptions{})
	}
	if c != nil {
		c.Close()
	}
	rep.files(inst)
	if rep.Verdict == Absent || rep.Verdict == Lost {
		rep.Verdict = rep.still()
	}
	if rep.Pid == 0 && rep.Held {
		rep.Pid = rep.believable()
	}
	if rep.Pid != 0 && rep.State == 0 {
		rep.look()
	}
	return rep
}

// files gathers the evidence that lies on disk.
func (r *Report) files(inst instance.Instance) {
	state, err := inst.OpenState(false)
	if err != nil {
		return
	}
	defer state.Close()
	r.Held, r.Holder = Held(inst, state)
	r.Record, r.Recorded = lock.ReadRecord(state, inst.LockName())
	dir, err := inst.OpenDir(state, false)
	if err != nil {
		return
	}
	defer dir.Close()
	var st unix.Stat_t
	r.Socket = unix.Fstatat(int(dir.Fd()), instance.SocketName, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
	r.PidFile = ReadPid(dir)
}

// Held reports whether a daemon, or a client that starts one, is there: the guard answers as
// this user, or some process has the lock.
func Held(inst instance.Instance, state *os.File) (bool, int) {
	if key, err := inst.Key(state); err == nil {
		if pid, uid, held := lock.LookGuard(key); held && uid == os.Geteuid() {
			return true, pid
		}
	}
	held, pid, err := lock.Held(state, inst.LockName())
	return err == nil && held, pid
}

// maxPid is the largest that a kernel gives: PID_MAX_LIMIT of Linux, see proc_sys_kernel(5).
const maxPid = 1 << 22

// ReadPid reads the pid file below the instance directory: 0 when there is nothing there that
// can be a pid. It is for people and messages; it proves nothing.
func ReadPid(dir *os.File) int {
	data, err := instance.ReadFile(dir, instance.PidName, 20)
	if err != nil {
		return 0
	}
	return parsePid(data)
}

func parsePid(data []byte) int {
	pid, err := strconv.Atoi(strings.TrimSuffix(string(data), "\n"))
	if err != nil || pid < 2 || pid > maxPid {
		return 0
	}
	return pid
}

// still tells apart what has no live socket.
func (r *Report) still() Verdict {
	switch {
	case r.Held && r.Recorded && r.Record.Phase == lock.Stopping:
		return Stopping
	case r.Held:
		return Starting
	case r.Socket, r.PidFile != 0:
		return Stale
	}
	return Absent
}

// believable is the pid to name while the lock is held: the record's, if that process is the
// one that wrote it, and not dead: a zombie holds nothing.
func (r *Report) believable() int {
	// Without the boot another process could have both numbers.
	id, err := process.Identify(r.Record.Pid)
	info, serr := process.Stat(r.Record.Pid)
	lives := err == nil && serr == nil && !info.Dead()
	if r.Recorded && lives && id.Start == r.Record.Start && id.Boot == r.Record.Boot {
		return r.Record.Pid
	}
	return r.Holder
}

func (r *Report) look() {
	if info, err := process.Stat(r.Pid); err == nil {
		r.State, r.Command = info.State, info.Command
	}
}

// Stopped reports whether the process was stopped by a signal or a debugger.
func (r *Report) Stopped() bool { return r.State == 'T' || r.State == 't' }
