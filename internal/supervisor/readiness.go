package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/activation"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/readiness"
	"github.com/hobworks/hob/internal/sdnotify"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
)

// attempt is what one run has for telling that it is ready. A nil one has nothing.
type attempt struct {
	env    []string        // for the process
	extra  []process.Extra // descriptors for it, closed by started
	via    []string        // what executes it
	slave  *os.File        // its side of its terminal, closed by started
	notify *sdnotify.Socket
	fd     *os.File // what it writes to its readiness descriptor

	ctx  context.Context // ends with the run
	stop context.CancelFunc
}

// prepare makes what the next run needs for telling that it is ready.
func (v *svc) prepare() (*attempt, error) {
	run := &attempt{}
	run.ctx, run.stop = context.WithCancel(context.Background())
	err := v.openNotify(run)
	if err == nil && v.st.Ready.FD != 0 {
		err = v.openReadyFD(run, unix.O_RDWR)
	}
	if err == nil && v.front.sock != nil && v.front.proxy == nil {
		err = v.handOver(run)
	}
	if err == nil && v.st.TTY {
		run.slave, err = v.openTerminal()
		run.env = append(run.env, "TERM="+terminalKind)
	}
	if err != nil {
		run.abandon()
		return nil, err
	}
	return run, nil
}

func (v *svc) openNotify(run *attempt) (err error) {
	if !v.st.Ready.Notify {
		return nil
	}
	if run.notify, err = sdnotify.Listen(filepath.Join(v.sup.o.Notify, v.name)); err != nil {
		return err
	}
	run.env = append(run.env, "NOTIFY_SOCKET="+run.notify.Addr())
	return nil
}

// terminalKind is what all terminals that people attach understand.
const terminalKind = "xterm-256color"

// handOver gives the run the socket that is held for it, sd_listen_fds(3).
func (v *svc) handOver(run *attempt) error {
	f, err := v.front.sock.File()
	if err != nil {
		return err
	}
	run.extra = append(run.extra, process.Extra{FD: firstSocket, File: f})
	run.env = append(run.env, activation.Environ(v.name)...)
	run.via = v.sup.o.ExecStep // only the process itself knows LISTEN_PID
	return nil
}

// firstSocket is SD_LISTEN_FDS_START.
const firstSocket = 3

// openReadyFD opens the FIFO that the run's readiness descriptor is: a FIFO and not a pipe, because the run
// has it open for reading too, and so gets no SIGPIPE when hobd was killed meanwhile.
func (v *svc) openReadyFD(run *attempt, mode int) error {
	path := filepath.Join(v.sup.o.FIFOs, v.name+".ready")
	if mode == unix.O_RDWR {
		_ = os.Remove(path)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return &os.PathError{Op: "mkfifo", Path: path, Err: err}
		}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	run.fd = os.NewFile(uintptr(fd), path)
	if mode != unix.O_RDWR {
		return nil
	}
	theirs, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	run.extra = append(run.extra, process.Extra{FD: v.st.Ready.FD, File: os.NewFile(uintptr(theirs), path)})
	return nil
}

// started closes what belongs to the process alone.
func (r *attempt) started() {
	for _, x := range r.extra {
		x.File.Close()
	}
	r.extra = nil
	if r.slave != nil {
		r.slave.Close()
		r.slave = nil
	}
}

// close ends what is being waited for. It may be called again.
func (r *attempt) close() {
	if r == nil {
		return
	}
	r.started()
	r.stop()
}

// watchReady lets the service know when the run is ready, or will not be.
func (v *svc) watchReady(run *attempt) {
	v.run = run
	r := v.readiness()
	if !r.Declared() {
		v.settleLater()
		return
	}
	generation, t := v.st.Generation, v.target()
	t.Notify, t.FD = run.notify, run.fd
	var found service.Address
	t.Found = func(a service.Address) { found = a }
	say := func(text string) { v.post(event{kind: evStatus, generation: generation, text: text}) }
	go func() {
		defer run.closeFiles()
		err := readiness.Wait(run.ctx, r, t, say)
		switch {
		case run.ctx.Err() != nil:
			return
		case err != nil:
			v.post(event{kind: evUnready, generation: generation, err: err})
		default:
			v.post(event{kind: evReady, generation: generation, found: found})
			run.follow(say)
		}
	}()
}

// target is the run of now, for those who ask it something.
func (v *svc) target() readiness.Target {
	p, out := v.proc, v.out
	return readiness.Target{
		Env: v.environ(), Dir: v.st.Dir, Log: v.sup.logDir(v.name), From: servicelog.Position(v.st.LogStart),
		Tree: func() ([]int, error) {
			tree, err := p.Tree(v.holdersOf(out))
			return pids(tree), err
		},
	}
}

// abandon is for a run that nobody waits for.
func (r *attempt) abandon() {
	r.close()
	r.closeFiles()
}

func (r *attempt) closeFiles() {
	if r.notify != nil {
		_ = r.notify.Close()
	}
	if r.fd != nil {
		_ = r.fd.Close()
	}
}

// follow passes on what the service says about itself while it is up.
func (r *attempt) follow(say func(string)) {
	if r.notify == nil {
		return
	}
	for {
		m, err := r.notify.Next(r.ctx)
		if err != nil {
			return
		}
		if m.Status != "" {
			say(m.Status)
		}
	}
}

// say shows what the service says about itself.
func (v *svc) say(ev event) { v.st.Why = ev.text }

// rejoin is watchReady for an adopted run.
func (v *svc) rejoin() error {
	run := &attempt{}
	run.ctx, run.stop = context.WithCancel(context.Background())
	err := v.openNotify(run)
	if err == nil && v.st.Ready.FD != 0 && v.st.State == service.Starting {
		err = v.openReadyFD(run, unix.O_RDONLY)
	}
	switch {
	case err != nil:
		run.abandon()
		return fmt.Errorf("watch the readiness of an adopted service: %w", err)
	case v.st.State == service.Starting && run.fd != nil && saidSo(run.fd):
		run.abandon()
		go v.post(event{kind: evReady, generation: v.st.Generation})
	case v.st.State == service.Starting:
		v.watchReady(run)
	default:
		v.run = run
		generation := v.st.Generation
		go func() {
			defer run.closeFiles()
			run.follow(func(text string) { v.post(event{kind: evStatus, generation: generation, text: text}) })
		}()
	}
	return nil
}

// saidSo reports whether a run of which no daemon saw the readiness descriptor has written to it: what it
// wrote is still there, or it has closed it, as one does who has.
func saidSo(f *os.File) (said bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = conn.Control(func(fd uintptr) {
		_, err := unix.Read(int(fd), make([]byte, 4096))
		said = err == nil
	})
	return said
}
