package config

import (
	"fmt"
	"slices"
	"strings"
)

// MaxErrors is how many are told of at once.
const MaxErrors = 20

// Error is one thing that is wrong, and where.
type Error struct {
	File         string // relative to the root where it lies below it
	Line, Column int    // from 1, the column in bytes; 0: the file as a whole
	Message      string // one sentence, with what was probably meant
	Hint         string // what to do about it, or ""; not part of Error()
}

func (e *Error) Error() string { return position(e.File, e.Line, e.Column) + ": " + e.Message }

func position(file string, line, column int) string {
	switch {
	case line == 0:
		return file
	case column == 0:
		return fmt.Sprintf("%s:%d", file, line)
	}
	return fmt.Sprintf("%s:%d:%d", file, line, column)
}

// Errors is all that is wrong with the files of a project, sorted by file and position: at least one.
type Errors struct {
	List []*Error // at most MaxErrors
	More bool     // there were more
}

// Error has one line for each.
func (e *Errors) Error() string {
	var b strings.Builder
	for i, one := range e.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(one.Error())
	}
	if e.More {
		b.WriteString("\nand more")
	}
	return b.String()
}

// Unwrap gives each of them.
func (e *Errors) Unwrap() []error {
	list := make([]error, len(e.List))
	for i, one := range e.List {
		list[i] = one
	}
	return list
}

// place is where something stands. The zero place is nowhere.
type place struct {
	file         *source
	line, column int
}

// problem is an Error with its place.
type problem struct {
	at place
	*Error
}

// problems gathers what is wrong. After MaxErrors it takes no more, so a file of a million mistakes costs little.
type problems struct {
	list []problem
	more bool
}

func (p *problems) full() bool { return len(p.list) >= MaxErrors }

// add notes a problem. It may be told twice, for a file is looked at alone and merged, and is noted once.
func (p *problems) add(at place, hint, message string) {
	for _, one := range p.list {
		if one.at == at && one.Message == message {
			return
		}
	}
	if p.full() {
		p.more = true
		return
	}
	p.list = append(p.list, problem{at, &Error{File: at.file.name, Line: at.line, Column: at.column, Message: message, Hint: hint}})
}

// err is *Errors, or nil when nothing is wrong.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b problem) int {
		if a.at.file != b.at.file {
			return a.at.file.rank - b.at.file.rank
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	e := &Errors{More: p.more}
	for _, one := range p.list {
		e.List = append(e.List, one.Error)
	}
	return e
}
