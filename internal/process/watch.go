package process

// Watch gives a channel that is closed when the process has exited, which need not be a child. The error wraps os.ErrProcessDone when it has
// already. end lets go of it, before or after; it may be called again. It costs a descriptor (Linux) and a goroutine.
func Watch(id ID) (done <-chan struct{}, end func(), err error) {
	h, err := openHandle(id.Pid)
	if err != nil {
		return nil, nil, err
	}
	// The handle first, as in Adopt.
	info, err := id.look()
	if err == nil && info.Dead() {
		err = errExited
	}
	if err != nil {
		h.close()
		return nil, nil, err
	}
	c := make(chan struct{})
	go func() {
		if h.wait() {
			close(c)
		}
	}()
	return c, h.close, nil
}
