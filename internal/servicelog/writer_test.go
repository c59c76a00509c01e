package servicelog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestSegmentIsByteExact(t *testing.T) {
	for name, text := range map[string]string{
		"lines":              "one\ntwo\n",
		"no newline":         "prompt> ",
		"NUL":                "a\x00b\x00\n\x00",
		"invalid UTF-8":      "\xff\xfe\xc3\n\xe2\x82\n",
		"escapes and CR":     "\x1b[31mred\x1b[0m\r\n",
		"only empty lines":   "\n\n\n",
		"larger than a pipe": string(bytes.Repeat([]byte("0123456789abcde\n"), 100_000)),
	} {
		t.Run(name, func(t *testing.T) {
			o := place(t)
			w := open(t, o)
			say(t, w, output(t, w), text)
			require.Equal(t, text, string(content(t, o.Dir, 1)))
			require.Equal(t, Position{1, int64(len(text))}, w.Position())
			require.Zero(t, w.Lost())
		})
	}
}

func TestHugeLineIsByteExact(t *testing.T) {
	for max, segments := range map[int64]int{0: 1, 10 << 20: 4} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			o := place(t)
			o.Max, o.Keep = max, segments
			hugeLine(t, o)
			require.Len(t, contents(t, o.Dir), segments)
		})
	}
}

// hugeLine logs 64 MB without a newline, and reads them back.
func hugeLine(t *testing.T, o Options) {
	w := open(t, o)
	out := output(t, w)
	random := rand.NewChaCha8([32]byte{1})
	wrote, block := sha256.New(), make([]byte, 1<<20)
	for range 64 {
		random.Read(block)
		block = bytes.ReplaceAll(block, []byte{'\n'}, []byte{0})
		wrote.Write(block)
		_, err := out.Write(block)
		require.NoError(t, err)
	}
	require.NoError(t, w.Drain(t.Context()))

	got, size := sha256.New(), 0
	r := read(t, o.Dir)
	for {
		line, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.True(t, line.Partial)
		require.LessOrEqual(t, len(line.Text), maxLine)
		got.Write(line.Text)
		size += len(line.Text)
	}
	line, ok := r.Rest()
	require.True(t, ok)
	got.Write(line.Text)
	require.Equal(t, 64<<20, size+len(line.Text))
	require.Equal(t, wrote.Sum(nil), got.Sum(nil))
}

func TestOutputIsBlockingAndItsOwn(t *testing.T) {
	w := open(t, place(t))
	for range 2 {
		out := output(t, w)
		flags, err := unix.FcntlInt(out.Fd(), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.Zero(t, flags&unix.O_NONBLOCK)
		require.Equal(t, unix.O_RDWR, flags&unix.O_ACCMODE)
	}
	flags, err := unix.FcntlInt(uintptr(w.fifo.fd), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.O_NONBLOCK)
}

func TestCloseLeavesTheFIFOFull(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	say(t, w, out, "before\n")
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	require.ErrorIs(t, w.Drain(t.Context()), os.ErrClosed)

	_, err := out.WriteString("while nobody listens\n") // no EPIPE
	require.NoError(t, err)
	require.Equal(t, "before\n", string(content(t, o.Dir, 1)))

	again := open(t, o)
	require.NoError(t, again.Drain(t.Context()))
	require.Equal(t, "before\nwhile nobody listens\n", string(content(t, o.Dir, 1)))
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	o := place(t)
	for range 20 {
		w := open(t, o)
		out := output(t, w)
		_, err := out.WriteString("line\n") // Close finds the mover at work, or gathering
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	r := read(t, o.Dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for {
		if _, err := r.Follow(ctx); err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			break
		}
	}
	require.NoError(t, r.Close())
	goleak.VerifyNone(t, ignore)
}

func TestDrainIndexesEverything(t *testing.T) {
	o := place(t)
	w := open(t, o)
	var wg sync.WaitGroup
	for range 4 {
		out := output(t, w)
		wg.Go(func() {
			for range 200 {
				_, err := out.WriteString("a line of some length\n")
				if err != nil {
					t.Error(err)
				}
				if err := w.Drain(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	size := w.Position().Offset
	require.EqualValues(t, 4*200*len("a line of some length\n"), size)
	v, err := openView(w.segment.dir, 1, 0)
	require.NoError(t, err)
	defer v.close()
	require.Equal(t, size, v.index.covered(size))
}

func TestDrainEndsWithItsContext(t *testing.T) {
	o := place(t)
	open(t, o).Close() // leaves the files
	dir, err := openDir(nil, o.Dir)
	require.NoError(t, err)
	defer dir.Close()
	w := &Writer{log: slog.New(slog.DiscardHandler)} // without a mover, that would be faster
	w.segment, err = openLast(dir)
	require.NoError(t, err)
	defer w.segment.close()
	w.fifo, err = openFIFO(o.FIFO)
	require.NoError(t, err)
	defer func() { _ = w.fifo.gate.close() }()

	_, err = output(t, w).WriteString("text")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.Drain(ctx), context.Canceled)
	require.Zero(t, w.Position().Offset)
	require.NoError(t, w.Drain(t.Context()))
	require.EqualValues(t, 4, w.Position().Offset)
}

func TestEmptiedLogStartsAtZero(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	say(t, w, out, "a long first part\nand more\n")
	r := read(t, o.Dir)
	require.Len(t, texts(t, r), 2)
	require.NoError(t, os.Truncate(filepath.Join(o.Dir, segmentName(1)), 0))
	say(t, w, out, "new\n")
	require.Equal(t, "new\n", string(content(t, o.Dir, 1)), "a hole in the place of what was removed")
	require.Equal(t, []string{"new"}, texts(t, r), "the reader begins anew too")
}

func TestRemovedLogGoesOnInTheNextSegment(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	say(t, w, out, "old\nhalf a ")
	r := read(t, o.Dir)
	_, err := r.Next()
	require.NoError(t, err)
	for _, name := range []string{segmentName(1), indexName(1)} {
		require.NoError(t, os.Remove(filepath.Join(o.Dir, name)))
	}
	say(t, w, out, "line\n")
	require.Equal(t, "line\n", string(content(t, o.Dir, 2)))
	require.Equal(t, []string{"half a line"}, texts(t, r))
}

func TestWhatIsInTheWayIsNamed(t *testing.T) {
	put := map[string]func(path string) error{
		"a symbolic link": func(p string) error { return os.Symlink("/nowhere", p) },
		"a directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"a socket": func(p string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrUnix{Name: p})
		},
		"a regular file": func(p string) error { return os.WriteFile(p, []byte("text"), 0o600) },
		"a FIFO":         func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a device":       func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) },
	}
	for where, fits := range map[string]string{"fifo": "a FIFO", "log/" + segmentName(1): "a regular file", "log/" + indexName(1): "a regular file"} {
		for what, put := range put {
			if what == fits {
				continue
			}
			t.Run(where+" is "+what, func(t *testing.T) {
				// Short enough for a socket's name, wherever the tests run.
				dir, err := os.MkdirTemp("/tmp", "sl")
				require.NoError(t, err)
				t.Cleanup(func() { os.RemoveAll(dir) })
				require.NoError(t, os.Mkdir(dir+"/log", 0o700))
				path := filepath.Join(dir, where)
				if err := put(path); err != nil {
					if what == "a device" {
						t.Skip("cannot make devices here: ", err)
					}
					require.NoError(t, err)
				}
				_, err = Open(Options{Dir: dir + "/log", FIFO: dir + "/fifo"})
				require.ErrorContains(t, err, path)
				require.ErrorContains(t, err, what)
				_, err = os.Lstat(path)
				require.NoError(t, err, "it must not be removed")
			})
		}
	}
	t.Run("log is a symbolic link", func(t *testing.T) {
		o := place(t)
		require.NoError(t, os.Symlink(t.TempDir(), o.Dir))
		_, err := Open(o)
		require.ErrorContains(t, err, "a symbolic link")
	})
	t.Run("fifo is open to others", func(t *testing.T) {
		o := place(t)
		require.NoError(t, unix.Mkfifo(o.FIFO, 0o600))
		require.NoError(t, os.Chmod(o.FIFO, 0o666))
		_, err := Open(o)
		require.ErrorContains(t, err, "0666")
	})
}

func TestOutputRefusesAnotherFIFOInItsPlace(t *testing.T) {
	o := place(t)
	w := open(t, o)
	require.NoError(t, os.Rename(o.FIFO, o.FIFO+".old"))
	require.NoError(t, unix.Mkfifo(o.FIFO, 0o600))
	_, err := w.Output()
	require.ErrorContains(t, err, "taken its place")
}

func TestFIFOIsKnownByItsInode(t *testing.T) {
	o := place(t)
	w := open(t, o)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(o.FIFO, &st))
	dev, ino := w.FIFO()
	require.Equal(t, uint64(st.Dev), dev)
	require.Equal(t, st.Ino, ino)
	require.EqualValues(t, 0o600, st.Mode&0o7777)
	info, err := os.Stat(o.Dir)
	require.NoError(t, err)
	require.EqualValues(t, 0o700, info.Mode().Perm())
}

func TestWriterNeedsNoRoomInItsPath(t *testing.T) {
	o := place(t)
	o.Dir = filepath.Join(o.Dir, "a", "b")
	w := open(t, o)
	say(t, w, output(t, w), "x\n")
	require.Equal(t, []string{"x"}, texts(t, read(t, o.Dir)))
}

func TestServicesWithoutOurCodeUseTheOutput(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	service := helper(t, "emit", 1_000_000, 7)
	service.Stdout, service.Stderr = out, out
	require.NoError(t, service.Run())
	require.NoError(t, w.Drain(t.Context()))
	require.EqualValues(t, 1_000_000, w.Position().Offset)
	require.Len(t, texts(t, read(t, o.Dir)), 10_000)
}
