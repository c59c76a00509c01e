//go:build !hobfault

// Package fault names the instants at which a process can be made to die, stop or fail, so
// that the tests can show what happens next. It exists only under the build tag hobfault:
// in every other build Point is empty and vanishes, and nothing in the environment is read.
// It never decides anything for the program around it.
package fault

// Point is the place called name; without the build tag hobfault it does nothing.
func Point(name string) {}

// Enabled says whether this build was made for tests.
const Enabled = false
