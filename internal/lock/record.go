package lock

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Record is the attempt record: what became of the last attempt to start a daemon. It lives in
// the lock file, is written by a holder of the lock only, in one write(2) of fixed size, and
// carries a checksum; what does not check out is no record. It is advice for waiters: the lock
// alone says whether a daemon lives.
type Record struct {
	Attempt  int64         `json:"attempt"`           // counts attempts, for ever
	Boot     string        `json:"boot_id"`           // in which the times below have a meaning
	Phase    Phase         `json:"phase"`             // how far it came
	Pid      int           `json:"pid,omitempty"`     // of the daemon, once known
	Start    uint64        `json:"start,omitempty"`   // its start time, clock ticks since boot
	PidNS    uint64        `json:"pid_ns,omitempty"`  // inode of its pid namespace
	Since    time.Duration `json:"since"`             // when the attempt began, on Now's clock
	Stage    string        `json:"stage,omitempty"`   // where it failed
	Code     string        `json:"code,omitempty"`    // why, for programs
	Message  string        `json:"message,omitempty"` // why, for people; at most MaxMessage bytes
	Failed   time.Duration `json:"failed,omitempty"`  // when it failed; 0: it did not
	Counted  bool          `json:"counted,omitempty"` // a death by signal is recorded, not counted
	Failures []Failure     `json:"failures,omitempty"`
}

// Failure is a counted failure of an attempt.
type Failure struct {
	At time.Duration `json:"at"` // on Now's clock
}

// Phase is how far an attempt came.
type Phase string

// The phases.
const (
	Spawning Phase = "spawning" // the client holds the lock and starts the daemon
	Starting Phase = "starting" // the daemon has the lock
	Serving  Phase = "serving"
	Stopping Phase = "stopping"
	Failed   Phase = "failed"
	Gone     Phase = "stopped" // it left in good order
)

// MaxMessage is the longest message that is kept.
const MaxMessage = 3 << 10

// maxWord is the longest stage and code.
const maxWord = 64

// The limits that keep a broken daemon from being started over and over.
const (
	MaxFailures = 3                // counted failures …
	Window      = 30 * time.Second // … in this time, and no more attempts are made until it is over
	Pause       = time.Second      // after a counted failure, so that a herd shares the next attempt
)

// Now is the clock of the record: time since boot, suspend included, so that it means the same
// in every process of one boot.
func Now() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(clockBoot, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Fail notes that the attempt failed now; counted failures are remembered for Window.
func (r *Record) Fail(stage, code, message string, counted bool) {
	r.Phase, r.Stage, r.Code, r.Message = Failed, clip(stage, maxWord), clip(code, maxWord), clip(message, MaxMessage)
	r.Failed, r.Counted = Now(), counted
	if counted {
		r.Failures = append(r.recent(r.Failed), Failure{At: r.Failed})
	}
}

// clip gives at most limit bytes of s, in whole characters. The daemon chooses stage, code and
// message; none of them may make a failure too long to be recorded.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= limit {
		return s
	}
	const more = "…"
	end := limit - len(more)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}

// Next begins the attempt after r, in boot.
func (r Record) Next(boot string) Record {
	n := Record{Attempt: r.Attempt + 1, Boot: boot, Phase: Spawning, Since: Now(), Pid: os.Getpid()}
	if r.Boot == boot {
		n.Failures = r.recent(n.Since)
	}
	return n
}

// Wait says how long no attempt may be made, and whether that is because of too many failures.
func (r Record) Wait(boot string) (wait time.Duration, tooMany bool) {
	if r.Boot != boot {
		return 0, false
	}
	now := Now()
	recent := r.recent(now)
	switch n := len(recent); {
	case n >= MaxFailures:
		return recent[n-MaxFailures].At + Window - now, true
	case n > 0:
		return max(0, recent[n-1].At+Pause-now), false
	}
	return 0, false
}

func (r Record) recent(now time.Duration) []Failure {
	return slices.DeleteFunc(slices.Clone(r.Failures), func(f Failure) bool {
		return f.At > now || now-f.At >= Window
	})
}

// The layout: magic, length, checksum of the JSON, the JSON, zeros.
const (
	magic  = "hobrec1\n"
	header = len(magic) + 4 + 4
)

func encode(r Record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	// Escapes can blow a message up to six times its length.
	for len(body) > Size-header && r.Message != "" {
		r.Message = r.Message[:len(r.Message)/2]
		if body, err = json.Marshal(r); err != nil {
			return nil, err
		}
	}
	if len(body) > Size-header {
		return nil, fmt.Errorf("it takes %d bytes, more than %d", len(body), Size-header)
	}
	return seal(body), nil
}

// seal makes the bytes on disk of a body.
func seal(body []byte) []byte {
	buf := make([]byte, Size)
	copy(buf, magic)
	binary.LittleEndian.PutUint32(buf[len(magic):], uint32(len(body)))
	binary.LittleEndian.PutUint32(buf[len(magic)+4:], crc32.ChecksumIEEE(body))
	copy(buf[header:], body)
	return buf
}

func decode(buf []byte) (Record, bool) {
	var r Record
	if len(buf) < header || string(buf[:len(magic)]) != magic {
		return r, false
	}
	// Compared before it is an int, which may have 32 bits.
	n := binary.LittleEndian.Uint32(buf[len(magic):])
	if n > uint32(len(buf)-header) {
		return r, false
	}
	body := buf[header : header+int(n)]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(buf[len(magic)+4:]) {
		return r, false
	}
	if json.Unmarshal(body, &r) != nil {
		return Record{}, false
	}
	return r, true
}

// WriteRecord replaces the record. The room for it was reserved, so a full disk is no obstacle.
func (l *Lock) WriteRecord(r Record) error {
	buf, err := encode(r)
	if err == nil {
		_, err = l.f.WriteAt(buf, 0)
	}
	if err != nil {
		return fmt.Errorf("record the attempt in %s: %w", l.f.Name(), err)
	}
	return nil
}

// Record reads the record of the held lock.
func (l *Lock) Record() (Record, bool) { return readRecord(l.f) }

// ReadRecord reads the record of the lock file name in dir, without the lock. A write that is
// under way can tear the read: then it is read again.
func ReadRecord(dir *os.File, name string) (Record, bool) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return Record{}, false
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	for range 3 {
		if r, ok := readRecord(f); ok {
			return r, true
		}
	}
	return Record{}, false
}

func readRecord(f *os.File) (Record, bool) {
	buf := make([]byte, Size)
	n, _ := f.ReadAt(buf, 0)
	return decode(buf[:n])
}
