package process

// BecomeSubreaper does nothing: darwin has no subreapers, orphans go to launchd.
func BecomeSubreaper() error { return nil }

// children returns none: without subreapers every child is a leader, and leaders reap themselves here.
func children() []int { return nil }
