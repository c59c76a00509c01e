// Command hobd is the daemon of one project. hob starts it; see package daemon.
package main

import (
	"os"

	"github.com/hobworks/hob/cmd/daemon"
)

func main() { os.Exit(daemon.Main(os.Args[1:], os.Stdout, os.Stderr)) }
