//go:build !mutant

package fault

// Mutant reports that the bug called name is planted in this build; without the build tag mutant none ever is.
func Mutant(name string) bool { return false }
