//go:build mutant

package fault

import "os"

// Mutant reports that the bug called name is planted in this process: HOB_MUTANT names one. Each of them must be found by
// the chaos harness (TestEveryMutantIsFound); so the harness is tested, and not only what it tests.
func Mutant(name string) bool { return os.Getenv("HOB_MUTANT") == name }
