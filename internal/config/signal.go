package config

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signal is the name of one, with or without SIG.
type signal struct {
	set
	v syscall.Signal
}

func (v *signal) read(d *decoding, n *node, s scope) {
	v.begin(n)
	text, ok := d.str(n, s, `"INT"`)
	if !ok {
		return
	}
	if v.v = unix.SignalNum("SIG" + strings.TrimPrefix(text, "SIG")); v.v == 0 {
		d.errorf(n, s, "%s is not a signal like \"INT\" or \"TERM\"%s", quoted(text), didYouMean(nearest(strings.TrimPrefix(text, "SIG"), signalNames())))
	}
}

func signalNames() []string {
	var names []string
	for i := range syscall.Signal(32) {
		if name := unix.SignalName(i); name != "" {
			names = append(names, strings.TrimPrefix(name, "SIG"))
		}
	}
	return names
}
