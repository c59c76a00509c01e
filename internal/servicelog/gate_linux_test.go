package servicelog

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestFIFOIsWatchedWhileSomebodyWaits and at no other time: that would make every write of the service dearer.
func TestFIFOIsWatchedWhileSomebodyWaits(t *testing.T) {
	f, err := openFIFO(place(t).FIFO)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.gate.close()) }()
	watched := func() bool {
		var info []byte
		require.NoError(t, control(f.gate.epoll, func(fd uintptr) (err error) {
			info, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd)) // proc_pid_fdinfo(5)
			return err
		}))
		return strings.Contains(string(info), "tfd:")
	}
	var got [1]byte
	took := func() bool { n, _ := unix.Read(f.fd, got[:]); return n == 1 }
	for _, early := range []bool{true, false} {
		done := make(chan error, 1)
		if early { // there is something before anybody waits
			_, err = unix.Write(f.fd, []byte("a"))
			require.NoError(t, err)
		}
		go func() { done <- f.gate.await(took) }()
		if !early {
			for deadline := time.Now().Add(time.Minute); !watched(); time.Sleep(time.Millisecond) {
				require.True(t, time.Now().Before(deadline), "it never was watched")
			}
			_, err = unix.Write(f.fd, []byte("b"))
			require.NoError(t, err)
		}
		require.NoError(t, <-done)
		require.False(t, watched())
	}
	require.Equal(t, "b", string(got[:]))
	require.NoError(t, f.gate.shut())
	require.ErrorIs(t, f.gate.await(took), os.ErrDeadlineExceeded)
}

// TestRefusedWatchIsTriedAgain: somebody may have used up what the kernel has of them.
func TestRefusedWatchIsTriedAgain(t *testing.T) {
	f, err := openFIFO(place(t).FIFO)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.gate.close()) }()
	looks := 0
	require.NoError(t, f.gate.await(func() bool {
		switch looks++; looks {
		case 1:
			f.gate.fifo = -1
		case 2: // that was refused
			f.gate.fifo = f.fd
			_, err := unix.Write(f.fd, []byte("a"))
			require.NoError(t, err)
		}
		return looks == 3
	}))
}

func control(f *os.File, do func(fd uintptr) error) (err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = do(fd) }); cerr != nil {
		return cerr
	}
	return err
}
