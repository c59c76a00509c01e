package daemon

// unblock can't be done here: Go has no sigprocmask for darwin.
func unblock() {}
