package ipc

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// maxPath is sun_path (108 bytes, unix(7)) less the NUL that package net wants.
const maxPath = 107

// addressByFd goes through /proc/self/fd, whose entries lead to the directory
// itself, however long its path is and wherever it was moved.
func addressByFd(fd int, path, name string) (string, error) {
	self := "/proc/self/fd/" + strconv.Itoa(fd)
	addr := self + "/" + name
	if len(addr) > maxPath {
		return "", errTooLong(addr, "")
	}
	// Without this, a missing /proc would look like a missing socket.
	var st unix.Stat_t
	if err := unix.Stat(self, &st); err != nil {
		return "", errTooLong(path, ", and /proc, the way round that, is not there")
	}
	return addr, nil
}
