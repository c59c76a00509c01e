package upgrade

import (
	"os"

	"golang.org/x/sys/unix"
)

// noteOf gives a file without a name that holds data: memfd_create(2).
func noteOf(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("hob-upgrade", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "hob-upgrade")
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
