package client

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/version"
)

func (a *app) cmdVersion() *cobra.Command {
	return a.verb("version", "Print the version of hob, and of hobd if it runs", none(a.version))
}

func (a *app) version(ctx context.Context) error {
	doc := struct {
		V       int         `json:"v"`
		Version string      `json:"version"`
		Daemon  *api.Daemon `json:"daemon,omitempty"`
	}{V: api.V, Version: version.String()}
	// What can't be asked has no version: that is for "hob daemon status" to explain.
	if c, err := a.contact(ctx); err == nil {
		doc.Daemon = a.daemonOf(ctx, c)
		_ = c.Close()
	}
	if a.json {
		return a.print(doc)
	}
	t := &table{}
	t.row("hob", doc.Version)
	if doc.Daemon != nil {
		t.row("hobd", fmt.Sprintf("%s (pid %d)", doc.Daemon.Version, doc.Daemon.Pid))
	}
	return t.write(a.stdout)
}
