package process

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// playFirst becomes playSecond. It says "ready" just before.
func playFirst() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	must(os.Setenv(helperEnv, "second"))
	for range 8 {
		go time.Sleep(time.Millisecond) // a runtime with several threads
	}
	time.Sleep(2 * time.Millisecond)
	println("ready")
	signal.Stop(term)
	if len(term) > 0 {
		os.Exit(0)
	}
	must(Exec("/proc/self/exe", os.Args, os.Environ()))
}

// playSecond lasts until a SIGTERM.
func playSecond() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	<-term
}

// TestExecLosesNoSignal: a SIGTERM ends the process, whenever it comes.
func TestExecLosesNoSignal(t *testing.T) {
	t.Parallel()
	helperUsed.Store("first", true)
	helperUsed.Store("second", true)
	for range 150 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), helperEnv+"=first", "GORACE=atexit_sleep_ms=0")
		stderr, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(stderr).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "ready\n", line)
		for until := time.Now().Add(time.Duration(rand.IntN(150)) * time.Microsecond); time.Now().Before(until); { // any moment will do
		}
		require.NoError(t, cmd.Process.Signal(unix.SIGTERM))
		lost := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		lost.Stop()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.False(t, status.Signaled() && status.Signal() == unix.SIGKILL, "the SIGTERM was lost")
	}
}

// TestExecThatFailsChangesNothing: what was caught before is caught after.
func TestExecThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	before, err := sigaction(unix.SIGHUP, nil)
	require.NoError(t, err)
	require.NotZero(t, before[0])
	require.ErrorIs(t, Exec("/nonexistent", nil, nil), unix.ENOENT)
	after, err := sigaction(unix.SIGHUP, nil)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// TestThreadsThatTakeNoSignalAreNotWaitedFor: the race detector has one, and so may what is linked by cgo.
func TestThreadsThatTakeNoSignalAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	var hold [2]int
	require.NoError(t, unix.Pipe2(hold[:], unix.O_CLOEXEC))
	defer unix.Close(hold[0])
	tids := make(chan int)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		var all unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = ^all.Val[i]
		}
		if unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil) != nil {
			close(tids)
			return
		}
		tids <- unix.Gettid()
		_, _ = unix.Read(hold[0], make([]byte, 1))
	}()
	tid := <-tids
	require.NotZero(t, tid)
	require.NoError(t, unix.Tgkill(os.Getpid(), tid, unix.SIGURG))
	looks := 0
	for asleep := 0; isPending(strconv.Itoa(tid), unix.SIGURG, &asleep); looks++ {
	}
	require.NotZero(t, looks, "it has not even been pending")
	require.NoError(t, unix.Close(hold[1]))
	<-ended
}
