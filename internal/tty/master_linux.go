package tty

import "golang.org/x/sys/unix"

// checkMaster fails for what is not the master of a pseudo-terminal: it alone has a number (ioctl_tty(2)).
func checkMaster(fd int) error {
	_, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	return err
}
