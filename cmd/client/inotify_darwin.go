package client

// inotify is Linux's.
func (l *factList) inotify() {}
