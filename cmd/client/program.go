package client

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

// askProgram runs hobd for something that needs no daemon: hob itself can't read hob.toml, because what that
// takes would be paid for at each start of hob. It returns the document and decodes it into doc.
func (a *app) askProgram(ctx context.Context, doc any, what string, args ...string) ([]byte, error) {
	root, err := a.project()
	if err != nil {
		return nil, err
	}
	program := daemonProgram()
	cmd := exec.CommandContext(ctx, program, append([]string{what, "--project", root.Path}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var failed api.ErrorDocument
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case runErr == nil:
		return stdout.Bytes(), decode(stdout.Bytes(), doc)
	case decode(stdout.Bytes(), &failed) == nil && failed.Error.Message != "":
		return nil, &hob.Error{Code: failed.Error.Code, Message: failed.Error.Message, Hint: failed.Error.Hint}
	}
	said := strings.TrimSpace(stderr.String())
	if said != "" {
		said = ": " + said
	}
	return nil, fmt.Errorf("run %s %s: %w%s", program, what, runErr, said)
}

// environment is what a service is, or would be, started with.
func (a *app) environment(ctx context.Context, name string) (api.Environ, error) {
	var e api.Environ
	if _, err := a.askProgram(ctx, &e, "environ", name); err != nil {
		return e, err
	}
	if !e.Base {
		// No client has started it yet, so this one's is the base, as with up.
		e.Env = append(os.Environ(), e.Env...)
	}
	return e, nil
}
