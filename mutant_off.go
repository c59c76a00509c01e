//go:build !mutant

package hob

// mutated is for bugs that are planted in the client: see fault.Mutant.
func (d *dialer) mutated() bool { return false }
