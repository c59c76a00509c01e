//go:build !hobfault

// Package fault names the instants at which a process can be made to die, stop or fail, so
// that the tests can show what happens next, and bugs that can be planted, so that the tests can be tested. It exists only
// under the build tags hobfault and mutant: in every other build Point and Mutant are empty and vanish, and nothing in the
// environment is read.
// It never decides anything for the program around it.
package fault

// Point is the place called name; without the build tag hobfault it does nothing.
func Point(name string) {}

// Enabled says whether this build was made for tests.
const Enabled = false
