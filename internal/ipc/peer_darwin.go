package ipc

import "golang.org/x/sys/unix"

func peerCreds(fd int) (Creds, error) {
	x, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return nobody, err
	}
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return nobody, err
	}
	return Creds{Pid: pid, Uid: int(x.Uid)}, nil
}
