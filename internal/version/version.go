// Package version knows which build this is, and which of two is the later one. It never decides what follows from that.
package version

import "runtime/debug"

// Version is set with -ldflags "-X github.com/hobworks/hob/internal/version.Version=v1.2.3".
var Version = ""

// String is Version, else what the toolchain recorded, else "devel".
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
