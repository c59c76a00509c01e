package sentry

import (
	"log/slog"
	"os"
	"sync"
	"time"
)

// Options say how a sentry is started and what it is to keep. All but Note and Linger are required.
type Options struct {
	Command Command

	// FIFOs gives the path of each service's FIFO, by name, for those services of which something may live or is
	// to be started. While there is one there is a sentry, also when the FIFO itself is not there yet.
	FIFOs func() map[string]string

	// Files gives duplicates of what else would be lost with hobd, by names of up to 80 bytes; they are closed. While there is one there
	// is a sentry, and the next hobd gets them by Collect. A nil one is there and can't be duplicated just now. It may be nil.
	Files func() map[string]*os.File

	// Door is where the next hobd comes for Files: the absolute path of a Unix socket that is made with each sentry.
	// "": there is none.
	Door string

	// Note writes down who the sentry is, once it has what it is to keep: see [Other]. It may be nil.
	Note func(who string)

	Log *slog.Logger

	// Linger is how long a sentry stays when there is nothing to keep: services often follow one another. 0: 10 s.
	Linger time.Duration
}

const (
	defaultLinger = 10 * time.Second

	// steady is how long a sentry has to live for its end to be a surprise: another one is started at once.
	steady = 10 * time.Second

	// respite is how long nobody looks again after a look, in units of what that took: with hundreds of services that start at once, each of
	// which nudges, the looks at all of them would otherwise cost more than the starts.
	respite = 3

	// maxPause bounds the time without a sentry after some of them have ended one after the other.
	maxPause = 30 * time.Second
)

// Keeper keeps one sentry while there is something to keep, and starts another one when it ends. Its methods may be
// called by several goroutines.
type Keeper struct {
	o      Options
	nudged chan struct{}
	syncs  chan chan struct{}
	ends   chan bool // Close, with leave
	hands  chan chan *os.File
	closed chan struct{}
	once   sync.Once

	// The rest is the loop's own.
	kept   kept
	child  *child // nil: none runs
	wanted bool
	idle   time.Time // since when there is nothing to keep; zero: there is
	fails  int       // sentries in a row that ended soon, or could not be started
	next   time.Time // no sentry is started before
}

// Keep begins. It starts no sentry before the first Update or Sync. The caller closes the Keeper.
func Keep(o Options) *Keeper {
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	k := &Keeper{o: o, nudged: make(chan struct{}, 1), syncs: make(chan chan struct{}), ends: make(chan bool), hands: make(chan chan *os.File),
		closed: make(chan struct{}), kept: kept{log: o.Log, ends: map[string]end{}, files: map[string]end{}}}
	go k.loop()
	return k
}

// Update has the keeper look again at what there is to keep. It does not wait.
func (k *Keeper) Update() {
	select {
	case k.nudged <- struct{}{}:
	default:
	}
}

// Sync is Update, and returns when the sentry has been started and sent what it is to keep. A sentry that can't be
// started is logged and tried again, for which Sync does not wait; one that does not read holds it up for a second.
func (k *Keeper) Sync() {
	done := make(chan struct{})
	select {
	case k.syncs <- done:
		<-done
	case <-k.closed:
	}
}

// Close ends the keeper. With leave, hobd goes and leaves its services for the next daemon, which somebody else
// starts: the sentry keeps what it has until that one serves. Without, it is sent away, and Close returns when it
// has ended; one that does not go within a second is killed. Only the first call does something.
func (k *Keeper) Close(leave bool) {
	k.once.Do(func() {
		k.ends <- leave
		<-k.closed
	})
}

// HandOver ends the keeper in a process that becomes another program: the sentry has all that it is to keep, and keeps it until that
// program, which is to inherit the file, calls Dismiss. Without that it does what it does for a hobd that was killed. There may be no
// sentry, and then no file.
func (k *Keeper) HandOver() *os.File {
	to := make(chan *os.File)
	var f *os.File
	k.once.Do(func() {
		k.hands <- to
		f = <-to
		<-k.closed
	})
	return f
}

// Dismiss sends away the sentry of the program that this process was before. It closes the file.
func Dismiss(f *os.File) error {
	defer f.Close()
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := conn.Control(func(fd uintptr) { err = send(int(fd), frame{op: opGoodbye}, -1) }); cerr != nil {
		return cerr
	}
	return err
}

func (k *Keeper) loop() {
	defer close(k.closed)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	nudged, rested := k.nudged, (<-chan time.Time)(nil)
	for {
		if d, ok := k.due(); ok {
			timer.Reset(d)
		} else {
			timer.Stop()
		}
		select {
		case <-nudged:
			begun := time.Now()
			k.look()
			nudged, rested = nil, time.After(respite*time.Since(begun))
		case <-rested:
			nudged, rested = k.nudged, nil
		case done := <-k.syncs:
			k.look()
			close(done)
		case <-k.child.done():
			k.lost()
			k.tend()
		case <-timer.C:
			k.tend()
		case leave := <-k.ends:
			k.end(leave)
			return
		case to := <-k.hands:
			to <- k.handOver()
			return
		}
	}
}

// look compares what there is to keep with what is kept.
func (k *Keeper) look() {
	fifos := k.o.FIFOs()
	var files map[string]*os.File
	if k.o.Files != nil {
		files = k.o.Files()
	}
	if k.wanted = len(fifos)+len(files) > 0; k.wanted {
		k.idle = time.Time{}
	} else if k.idle.IsZero() {
		k.idle = time.Now()
	}
	for _, change := range append(k.kept.follow(fifos), k.kept.followFiles(files)...) {
		k.send(change.frame, change.fd)
		change.done()
	}
	k.tend()
}

// tend starts a sentry or sends it away.
func (k *Keeper) tend() {
	switch {
	case k.child == nil && k.wanted && !time.Now().Before(k.next):
		k.start()
	case k.child != nil && !k.wanted && time.Since(k.idle) >= k.o.Linger:
		k.dismiss()
	}
}

// due is when tend has something to do, unless something else happens before.
func (k *Keeper) due() (time.Duration, bool) {
	switch {
	case k.child == nil && k.wanted:
		return time.Until(k.next), true
	case k.child != nil && !k.wanted:
		return time.Until(k.idle.Add(k.o.Linger)), true
	}
	return 0, false
}

func (k *Keeper) start() {
	c, err := k.o.Command.start()
	if err != nil {
		k.failed("start the sentry", "err", err)
		return
	}
	k.child = c
	open := k.openDoor()
	for _, e := range k.kept.ends {
		k.send(e.held("").frame, e.fd)
	}
	for name, e := range k.kept.files {
		k.send(e.held(name).frame, e.fd)
	}
	open()
	if k.o.Note != nil {
		k.o.Note(c.who())
	}
}

// openDoor gives the sentry its door, which leads nowhere before the function that it returns is called: then the
// sentry has all that it is to keep. Without a door the next hobd does without what it would have got there.
func (k *Keeper) openDoor() func() {
	if k.o.Door == "" {
		return func() {}
	}
	d, err := newDoor(k.o.Door)
	if err != nil {
		k.o.Log.Error("make the sentry's door", "err", err)
		return func() {}
	}
	k.send(frame{op: opDoor}, d.fd)
	return func() {
		if err := d.open(); err != nil {
			k.o.Log.Error("open the sentry's door", "err", err)
		}
	}
}

// dismiss sends the sentry away.
func (k *Keeper) dismiss() {
	k.removeDoor()
	k.child.dismiss()
	k.child = nil
}

func (k *Keeper) removeDoor() {
	if k.o.Door != "" {
		_ = os.Remove(k.o.Door)
	}
}

// send tells the sentry, if there is one. One that does not read is replaced: it would be of no use.
func (k *Keeper) send(f frame, fd int) {
	if k.child == nil {
		return
	}
	if k.child.send(f, fd) != nil {
		k.child.kill()
	}
}

// lost is for a sentry that has ended by itself, or by somebody's hand.
func (k *Keeper) lost() {
	exit, lived := k.child.release()
	k.child = nil
	if lived >= steady {
		k.fails = 0
	}
	k.failed("the sentry has ended", "how", exit.String())
}

// failed has the next sentry wait, if this is not the first one that was of no use. The first is logged, others
// would say the same.
func (k *Keeper) failed(what string, args ...any) {
	if k.fails == 0 {
		k.o.Log.Error(what, args...)
	}
	k.next = time.Now().Add(pause(k.fails))
	k.fails++
}

// pause is none, then 1 s doubling to maxPause.
func pause(fails int) time.Duration {
	if fails == 0 {
		return 0
	}
	return min(time.Second<<min(fails-1, 10), maxPause)
}

func (k *Keeper) handOver() *os.File {
	defer k.kept.close()
	k.look()
	if k.child == nil {
		return nil
	}
	k.send(frame{op: opUpgrade}, -1)
	_, _ = k.child.leave()
	return os.NewFile(uintptr(k.child.socket), "sentry")
}

func (k *Keeper) end(leave bool) {
	switch {
	case leave && k.wanted:
		k.look()
		if k.child != nil {
			k.send(frame{op: opRetire}, -1)
			// The socket stays open: its end is that of this process.
			_, _ = k.child.leave()
		}
	case k.child != nil:
		k.dismiss()
	case !leave:
		k.removeDoor() // of a sentry that was killed
	}
	k.kept.close()
}
