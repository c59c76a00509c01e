//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// own makes cmd the first process of pid and mount namespaces of its own, unshare(1) --pid --fork --mount-proc: so a pid that was
// used again can't be a stranger's, and the kernel ends all that is left. An ordinary user needs a user namespace for it.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	if os.Geteuid() == 0 {
		return
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
}

// initMain is the first process of the namespace: it starts the harness, collects whoever has lost his parent, and ends as the
// harness does.
func initMain() int {
	c, err := readConfig()
	if err == nil {
		err = mounts(c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "namespace:", err)
		return 1
	}
	if err := os.Setenv(roleVar, "harness"); err != nil {
		return 1
	}
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "fork:", err)
		return 1
	}
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal())
		case got == pid:
			return ws.ExitStatus()
		}
	}
}

// mounts shows the namespace's own processes, and puts all files into memory, on a file system of their own.
func mounts(c config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", c.Base, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount %s: %w", c.Base, err)
	}
	return nil
}
