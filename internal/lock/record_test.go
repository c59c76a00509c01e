package lock

import (
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const recordName = "record.lock"

// recorded gives a held lock whose record is r.
func recorded(t *testing.T, r Record) (*os.File, *Lock) {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { dir.Close() })
	l, err := TryAcquire(dir, recordName)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	require.NoError(t, l.WriteRecord(r))
	return dir, l
}

func TestRecordRoundTrip(t *testing.T) {
	want := Record{Attempt: 1 << 40, Boot: "b", Phase: Failed, Pid: 7, Start: 1 << 60, PidNS: 4026531836, Since: time.Hour, Stage: "bind",
		Code: "ENOSPC", Message: "a\n\"b\"\x1b\t<é>", Failed: 2 * time.Hour, Counted: true, Failures: []Failure{{At: 1}, {At: 2}}}
	dir, l := recorded(t, want)
	r, ok := l.Record()
	require.True(t, ok)
	require.Equal(t, want, r)
	r, ok = ReadRecord(dir, recordName)
	require.True(t, ok)
	require.Equal(t, want, r)
	require.NoError(t, l.WriteRecord(Record{}), "shorter than what was there")
	r, ok = ReadRecord(dir, recordName)
	require.True(t, ok)
	require.Equal(t, Record{}, r)
}

func TestFreshLockHasNoRecord(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	_, ok := ReadRecord(dir, recordName)
	require.False(t, ok, "there is no file")
	l, err := TryAcquire(dir, recordName)
	require.NoError(t, err)
	defer l.Close()
	_, ok = l.Record()
	require.False(t, ok)
}

// TestDamagedRecordIsNone: every byte of it is changed once, it is cut at every place, and it is
// mixed with another at every place, as a torn write would.
func TestDamagedRecordIsNone(t *testing.T) {
	one, err := encode(Record{Attempt: 1, Phase: Failed, Message: "one"})
	require.NoError(t, err)
	two, err := encode(Record{Attempt: 2, Phase: Serving, Message: "another, longer"})
	require.NoError(t, err)
	used := header + int(binary.LittleEndian.Uint32(one[len(magic):]))
	for i := range used {
		bad := append([]byte(nil), one...)
		bad[i] ^= 0x20
		_, ok := decode(bad)
		require.False(t, ok, "byte %d changed", i)
		_, ok = decode(one[:i])
		require.False(t, ok, "cut at %d", i)
	}
	_, ok := decode(one[:used])
	require.True(t, ok)
	for i := range len(one) {
		r, ok := decode(append(append([]byte(nil), one[:i]...), two[i:]...))
		if ok {
			require.Contains(t, []string{"one", "another, longer"}, r.Message, "torn at %d", i)
		}
	}
}

// TestLengthIsNotTrusted, also where int has 32 bits and a length of 2^32-1 is negative.
func TestLengthIsNotTrusted(t *testing.T) {
	for _, n := range []uint32{0, 1, Size, Size - uint32(header) + 1, 1<<31 - 1, 1 << 31, ^uint32(0) - uint32(header), ^uint32(0)} {
		buf := make([]byte, Size)
		copy(buf, magic)
		binary.LittleEndian.PutUint32(buf[len(magic):], n)
		binary.LittleEndian.PutUint32(buf[len(magic)+4:], crc32.ChecksumIEEE(nil))
		_, ok := decode(buf)
		require.False(t, ok, "length %d", n)
	}
}

func TestJunkIsNoRecord(t *testing.T) {
	junk := make([]byte, 1<<20)
	_, _ = rand.Read(junk)
	for what, put := range map[string]func(path string) error{
		"nothing":      func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"one byte":     func(p string) error { return os.WriteFile(p, []byte("h"), 0o600) },
		"the magic":    func(p string) error { return os.WriteFile(p, []byte(magic), 0o600) },
		"a pid":        func(p string) error { return os.WriteFile(p, []byte("4711\n"), 0o600) },
		"zeros":        func(p string) error { return os.WriteFile(p, make([]byte, Size), 0o600) },
		"1 MiB":        func(p string) error { return os.WriteFile(p, junk, 0o600) },
		"a huge hole":  func(p string) error { return sparse(p) },
		"a directory":  func(p string) error { return os.Mkdir(p, 0o700) },
		"a FIFO":       func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a symlink":    func(p string) error { return os.Symlink("good", p) },
		"not readable": func(p string) error { return unreadable(p) },
	} {
		if what == "not readable" && os.Geteuid() == 0 {
			continue // root can read everything
		}
		dir, l := recorded(t, Record{Attempt: 1})
		require.NoError(t, os.Rename(filepath.Join(dir.Name(), recordName), filepath.Join(dir.Name(), "good")))
		require.NoError(t, put(filepath.Join(dir.Name(), recordName)), what)
		_, ok := ReadRecord(dir, recordName)
		require.False(t, ok, what)
		_, ok = l.Record()
		require.True(t, ok)
	}
}

// unreadable is a good record, but for its mode.
func unreadable(path string) error {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "good"))
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o200)
}

func sparse(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, 1<<40)
}

// TestLongestMessageIsRecorded, whatever JSON makes of its bytes.
func TestLongestMessageIsRecorded(t *testing.T) {
	for _, c := range []string{"x", "\x00", "<", "\xff", "é", "\"", "\n", "😀", "\u2028"} {
		r := Record{Attempt: 3, Boot: strings.Repeat("b", 36), Since: Now(), Failures: []Failure{{Now()}, {Now()}}}
		r.Fail(strings.Repeat(c, 5000), strings.Repeat(c, 5000), "why: "+strings.Repeat(c, 100_000), true)
		require.LessOrEqual(t, len(r.Message), MaxMessage, "%q", c)
		dir, _ := recorded(t, r)
		got, ok := ReadRecord(dir, recordName)
		require.True(t, ok, "%q", c)
		require.Equal(t, Failed, got.Phase)
		require.Equal(t, r.Attempt, got.Attempt)
		require.Equal(t, r.Failed, got.Failed)
		require.Equal(t, r.Failures, got.Failures)
		require.True(t, got.Counted)
		require.True(t, strings.HasPrefix(got.Message, "why: "), "%q", c)
		require.True(t, utf8.ValidString(got.Message))
	}
	r := Record{}
	r.Fail("s", "c", strings.Repeat("x", MaxMessage), true)
	dir, _ := recorded(t, r)
	got, _ := ReadRecord(dir, recordName)
	require.Equal(t, r.Message, got.Message, "a plain message of that length is kept whole")
	require.Len(t, got.Message, MaxMessage)
}

// TestRecordThatDoesNotFitIsAnError, not half a record.
func TestRecordThatDoesNotFitIsAnError(t *testing.T) {
	dir, l := recorded(t, Record{Attempt: 1})
	require.Error(t, l.WriteRecord(Record{Attempt: 2, Boot: strings.Repeat("b", Size)}))
	r, ok := ReadRecord(dir, recordName)
	require.True(t, ok)
	require.Equal(t, int64(1), r.Attempt)
}

func TestThreeFailuresMeanNoMoreAttempts(t *testing.T) {
	const boot = "this"
	now := Now()
	r := Record{Boot: boot}
	wait, tooMany := r.Wait(boot)
	require.Zero(t, wait)
	require.False(t, tooMany)
	for n := 1; n <= MaxFailures; n++ {
		r = r.Next(boot)
		require.Equal(t, int64(n), r.Attempt)
		require.Equal(t, Spawning, r.Phase)
		require.Equal(t, os.Getpid(), r.Pid)
		r.Fail("s", "c", "m", true)
		require.GreaterOrEqual(t, r.Failed, now)
		wait, tooMany = r.Wait(boot)
		require.Equal(t, n == MaxFailures, tooMany, "after %d", n)
		require.Len(t, r.Failures, n)
	}
	require.Positive(t, wait)
	require.LessOrEqual(t, wait, Window)
	wait, tooMany = r.Wait("another")
	require.Zero(t, wait, "the clock began anew")
	require.False(t, tooMany)
	require.Empty(t, r.Next("another").Failures)
	require.Len(t, r.Next(boot).Failures, MaxFailures)
	require.Empty(t, r.Next(boot).Message, "an attempt that goes on has not failed")
	require.Zero(t, r.Next(boot).Failed)
}

func TestOldFailuresAreForgotten(t *testing.T) {
	const boot = "this"
	now := Now()
	for what, c := range map[string]struct {
		ago     []time.Duration
		tooMany bool
		waits   bool
	}{
		"three just now":                {ago: []time.Duration{3 * time.Second, 2 * time.Second, time.Second}, tooMany: true, waits: true},
		"one of three is old":           {ago: []time.Duration{Window, 2 * time.Second, time.Second}},
		"all old":                       {ago: []time.Duration{Window + 2, Window + 1, Window}},
		"one this very moment":          {ago: []time.Duration{0}, waits: true},
		"from the future, another boot": {ago: []time.Duration{-time.Hour, -time.Hour, -time.Hour}},
	} {
		r := Record{Boot: boot}
		for _, ago := range c.ago {
			r.Failures = append(r.Failures, Failure{At: now - ago})
		}
		wait, tooMany := r.Wait(boot)
		require.Equal(t, c.tooMany, tooMany, what)
		if !c.waits {
			require.Zero(t, wait, what)
		}
		require.LessOrEqual(t, wait, Window, what)
	}
}

func TestDeathBySignalIsRecordedAndNotCounted(t *testing.T) {
	r := Record{Boot: "b"}
	for range MaxFailures + 2 {
		r = r.Next("b")
		r.Fail("start", "exited", "killed", false)
		require.Equal(t, Failed, r.Phase)
		require.NotZero(t, r.Failed)
		require.False(t, r.Counted)
	}
	wait, tooMany := r.Wait("b")
	require.Zero(t, wait)
	require.False(t, tooMany)
}

// TestReaderNeverSeesHalfARecord: the writer and the reader don't share a lock.
func TestReaderNeverSeesHalfARecord(t *testing.T) {
	dir, l := recorded(t, Record{Message: "0"})
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 3000 {
			if e := l.WriteRecord(Record{Attempt: int64(i % 2), Message: strings.Repeat(string(rune('0'+i%2)), 1+i%2*MaxMessage/2)}); e != nil {
				err = e
			}
		}
		done <- err
	}()
	for {
		r, ok := ReadRecord(dir, recordName)
		if ok {
			require.Equal(t, strings.Repeat(string(rune('0'+r.Attempt)), len(r.Message)), r.Message)
		}
		select {
		case err := <-done:
			require.NoError(t, err)
			_, ok := ReadRecord(dir, recordName)
			require.True(t, ok)
			return
		default:
		}
	}
}

// FuzzRecord: no bytes make decode fail or lie about itself, no words make a failure unrecordable.
func FuzzRecord(f *testing.F) {
	good, err := encode(Record{Attempt: 1, Failures: []Failure{{At: 1}}})
	require.NoError(f, err)
	f.Add(good, "stage", "code", "message")
	f.Add(good[:header], "", "", "\xff\x00<>&\u2028")
	f.Add([]byte(magic+"\xff\xff\xff\xff\x00\x00\x00\x00"), strings.Repeat("<", 5000), strings.Repeat("\x00", 5000), strings.Repeat("\xff", 20000))
	f.Add([]byte("{}"), "s", "c", strings.Repeat("é", MaxMessage))
	f.Fuzz(func(t *testing.T, data []byte, stage, code, message string) {
		if r, ok := decode(data); ok {
			if buf, err := encode(r); err == nil {
				_, ok := decode(buf)
				require.True(t, ok)
			}
		}
		// The body alone, as if the checksum were right.
		if len(data) <= Size-header {
			_, _ = decode(seal(data))
		}
		r := Record{Attempt: 5, Boot: "b"}
		r.Fail(stage, code, message, true)
		buf, err := encode(r)
		require.NoError(t, err)
		require.Len(t, buf, Size)
		got, ok := decode(buf)
		require.True(t, ok)
		require.Equal(t, r.Attempt, got.Attempt)
		require.Equal(t, r.Failed, got.Failed)
		require.Equal(t, r.Failures, got.Failures)
	})
}
