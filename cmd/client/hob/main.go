// Command hob gives each project its own background services. See package client.
package main

import (
	"os"

	"github.com/hobworks/hob/cmd/client"
)

func main() { os.Exit(client.Main(os.Args[1:], os.Stdout, os.Stderr)) }
