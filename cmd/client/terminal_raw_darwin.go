package client

import "golang.org/x/sys/unix"

// setTermios does not wait for output that a stopped terminal does not take.
const setTermios = unix.TIOCSETA
