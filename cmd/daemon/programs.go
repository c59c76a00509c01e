package daemon

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/config"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
	"github.com/hobworks/hob/internal/supervisor"
)

// programs are what hobd does for hob in a process of its own, without a daemon: hob is started so often
// that it does not link a TOML parser for the few times that it needs one. Each prints one document, an
// api.ErrorDocument when it fails, and is nobody else's to call.
var programs = map[string]func(project string, args []string) (any, error){
	"plan":    planOf,
	"init":    firstFile,
	"environ": environOf,
}

// runProgram runs one of programs; ok is false when args do not name one.
func runProgram(args []string, stdout, stderr io.Writer) (code int, ok bool) {
	if len(args) == 0 || programs[args[0]] == nil {
		return 0, false
	}
	flags := flag.NewFlagSet("hobd "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	project := flags.String("project", "", "the project's `directory`")
	if flags.Parse(args[1:]) != nil {
		return 2, true
	}
	doc, err := programs[args[0]](*project, flags.Args())
	if err != nil {
		e := api.Error{Code: api.CodeFailed, Message: err.Error()}
		if known, ok := errors.AsType[*hob.Error](err); ok {
			e.Code, e.Hint = known.Code, known.Hint
		}
		doc, code = api.ErrorDocument{V: api.V, Error: e}, 1
	}
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		fmt.Fprintf(stderr, "hobd: %v\n", err)
		return 1, true
	}
	return code, true
}

// planOf reads the file and says what it comes to.
func planOf(project string, _ []string) (any, error) {
	p, err := loadConfig(project)
	if err != nil {
		return nil, err
	}
	doc := api.Plan{V: api.V, File: p.File, Services: []api.PlannedService{}}
	for _, s := range p.Ordered() {
		doc.Services = append(doc.Services, planned(s))
	}
	for _, n := range p.Notes {
		doc.Notes = append(doc.Notes, n.String())
	}
	return doc, nil
}

// firstFile is the text of a first hob.toml.
func firstFile(project string, _ []string) (any, error) {
	text, from, err := config.Init(project)
	return api.FirstFile{V: api.V, From: from, Text: string(text)}, err
}

// environOf is the environment and the directory of a service: as it was started last, else as it would be
// started from the file.
func environOf(project string, args []string) (any, error) {
	if len(args) != 1 {
		return nil, &hob.Error{Code: api.CodeUsage, Message: "environ: of which service?"}
	}
	root, err := findRoot(project)
	if err != nil {
		return nil, err
	}
	inst, err := instance.New(root, "")
	if err != nil {
		return nil, err
	}
	known, err := store.ReadAll(inst)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(known, func(st service.Status) bool { return st.Name == args[0] }); i >= 0 {
		return api.Environ{V: api.V, Dir: known[i].Dir, Base: known[i].Env != nil,
			Env: supervisor.Environ(known[i].Spec, root.Path)}, nil
	}
	p, err := config.Load(root.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, badConfig(err)
	}
	if err == nil {
		for _, s := range p.Services {
			if s.Name == args[0] {
				return api.Environ{V: api.V, Dir: s.Dir, Env: supervisor.Environ(s.Spec, root.Path)}, nil
			}
		}
	}
	return nil, &hob.Error{Code: api.CodeNoSuchService, Message: fmt.Sprintf("service %q: no such service", args[0]), Hint: "see \"hob ps\" and \"hob check\""}
}
