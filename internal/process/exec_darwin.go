package process

// dieAtOnce can't be done here: Go gives no access to sigaction(2) on darwin.
func dieAtOnce() (undo func()) { return func() {} }
