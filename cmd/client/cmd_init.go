package client

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

func (a *app) cmdInit() *cobra.Command {
	return a.verb("init", "Write a first hob.toml, from a Procfile or package.json if there is one", none(a.init))
}

func (a *app) init(ctx context.Context) error {
	root, err := a.project()
	if err != nil {
		return err
	}
	path := filepath.Join(root.Path, "hob.toml")
	if _, err := os.Lstat(path); err == nil {
		return isThere(path)
	}
	var first api.FirstFile
	if _, err := a.askProgram(ctx, &first, "init"); err != nil {
		return err
	}
	if err := create(path, first.Text); errors.Is(err, fs.ErrExist) {
		return isThere(path)
	} else if err != nil {
		return err
	}
	first.File = path
	from := ""
	if first.From != "" {
		from = " from " + first.From
	}
	a.say("wrote %s%s; see what it comes to with \"hob check\", and start it with \"hob up\"", path, from)
	return a.show(first)
}

func isThere(path string) error {
	return &hob.Error{Code: api.CodeBusy, Message: "write " + path + ": it is there already", Hint: "see what it comes to: hob check"}
}

// create writes a file that must not be there yet.
func create(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // half a file is none
	}
	return err
}
