package instance

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// self is this program for a child of any user: its path may lead through directories of mode 0700.
func self(*testing.T) string { return "/proc/self/exe" }

// mountTiny mounts a tmpfs with room for a few pages and files, and enters it.
func mountTiny(dir string) error {
	if err := unix.Mount("tiny", dir, "tmpfs", 0, "size=16k,nr_inodes=8"); err != nil {
		return err
	}
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	return unix.Chdir(wd)
}

// ownMounts gives a child mounts that end with it; an ordinary user needs a user namespace for that.
func ownMounts() *syscall.SysProcAttr {
	// Unshareflags, not Cloneflags: then nothing is propagated to where we came from.
	attr := &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		attr.Cloneflags = unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}
