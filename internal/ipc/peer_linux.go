package ipc

import "golang.org/x/sys/unix"

func peerCreds(fd int) (Creds, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nobody, err
	}
	return Creds{Pid: int(u.Pid), Uid: int(u.Uid)}, nil
}
