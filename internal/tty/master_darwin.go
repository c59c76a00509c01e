package tty

import "golang.org/x/sys/unix"

// checkMaster fails for what is not the master of a pseudo-terminal: it alone can unlock the slave, which was done
// when that was opened.
func checkMaster(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCPTYUNLK, 0) }
