// Package config reads what a project says about its services: hob.toml with hob.local.toml merged over it,
// or a Procfile, and the env files that they name. It promises that a file is understood completely or not at
// all: a key that is not known, a value of another kind, a service that needs one that is not there are errors
// with file, line and column, and mostly with what was meant. So whoever gets a Project may hand its specs on as they are.
//
// It never starts anything, never writes, never looks at the environment of the process it runs in, and never
// puts the value of a variable into an error.
package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hobworks/hob/internal/service"
)

// The names of the files, below a project's root.
const (
	FileName      = "hob.toml"
	LocalFileName = "hob.local.toml"
	ProcfileName  = "Procfile"
)

// Project is what its files say. It is immutable once Load returned it.
type Project struct {
	Root     string   // as it was given to Load
	File     string   // absolute path of hob.toml or Procfile
	Files    []string // absolute paths of all that were read, env files and hob.local.toml too
	Source   service.Source
	Services []Service // in the order of the file; those that hob.local.toml adds come last
	Daemon   Daemon
	Notes    []Note
}

// Service is one service as it is to be run. Watch is checked and does not act yet.
type Service struct {
	service.Spec      // Env empty, for it is the client's; Set of env_file and env; Dir absolute; defaults filled in
	Auto         bool // part of a bare hob up
	Port         bool // wants PORT, from 5100 on, which is not in Set; for a Procfile whose .env sets none

	Watch []string // globs; with "!" in front: not those
}

// The defaults of Alive.
const (
	DefaultAliveEvery = 10 * time.Second
	DefaultAliveFails = 3
)

// Daemon is the table [daemon].
type Daemon struct {
	IdleExit time.Duration // 0: not set
}

// Note is said about a file that is good.
type Note struct {
	File         string // relative to the root where it lies below it
	Line, Column int
	Message      string
}

// String is "hob.toml:3:1: message".
func (n Note) String() string { return position(n.File, n.Line, n.Column) + ": " + n.Message }

// MissingError says that a directory has no file to read services from. It is fs.ErrNotExist.
type MissingError struct {
	Root   string
	Looked []string // names of files
	Local  bool     // there is a hob.local.toml
}

func (e *MissingError) Error() string {
	text := "no " + strings.Join(e.Looked, " or ") + " in " + e.Root
	if e.Local {
		text += "; " + LocalFileName + " is merged over " + FileName + " and does not stand alone"
	}
	return text
}

// Unwrap gives fs.ErrNotExist.
func (e *MissingError) Unwrap() error { return fs.ErrNotExist }

// Load reads the services of the project whose root is the directory root, an absolute path: hob.toml with
// hob.local.toml merged over it, else Procfile. With neither the error is a *MissingError; with a file that
// can't be used it is *Errors. Load never blocks on what it finds in place of a file.
func Load(root string) (*Project, error) {
	if !filepath.IsAbs(root) {
		return nil, &fs.PathError{Op: "read services", Path: root, Err: fs.ErrInvalid}
	}
	l := &loader{root: root, project: &Project{Root: root}, envs: map[string]*envFile{}}
	if main := l.open(FileName, mustBeOurs); main.exists() {
		l.toml(main, l.open(LocalFileName, mustBeOurs))
		return l.done(main, service.SourceFile)
	}
	_, err := os.Lstat(l.below(LocalFileName))
	local := err == nil
	proc := l.open(ProcfileName, mustBeOurs)
	if !proc.exists() {
		return nil, &MissingError{Root: root, Looked: []string{FileName, ProcfileName}, Local: local}
	}
	if local {
		l.note(place{file: &source{name: LocalFileName}}, "it is not read, for there is no "+FileName)
	}
	l.procfile(proc)
	return l.done(proc, service.SourceProcfile)
}

// loader is one Load under way.
type loader struct {
	root     string
	project  *Project
	problems problems
	envs     map[string]*envFile
}

func (l *loader) done(main *source, from service.Source) (*Project, error) {
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	l.project.File, l.project.Source = main.path, from
	return l.project, nil
}

func (l *loader) note(at place, message string) {
	l.project.Notes = append(l.project.Notes, Note{File: at.file.name, Line: at.line, Column: at.column, Message: message})
}

// below gives the absolute path of one that is relative to the root.
func (l *loader) below(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(l.root, path)
}
