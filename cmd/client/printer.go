package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/servicelog"
)

// printer writes lines of logs to stdout: as they are, or with the name of their service in
// front, or as JSON. Its methods may be called by several goroutines.
type printer struct {
	json   bool
	prefix bool // the service's name in front
	times  bool
	raw    bool // add nothing, not even the newline that the last line lacks

	colors   bool
	terminal bool

	mu    sync.Mutex // guards all below
	w     *bufio.Writer
	open  string // the service whose line has no end yet
	names map[string]*sanitizer
	order []string
	width int
	buf   []byte
}

func (a *app) newPrinter(names []string) *printer {
	p := &printer{json: a.json, colors: a.colored(), terminal: isTerminal(a.stdout),
		w: bufio.NewWriterSize(a.stdout, 64<<10), names: map[string]*sanitizer{}}
	for _, name := range names {
		p.add(name)
	}
	return p
}

// add makes room for another service.
func (p *printer) add(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.width = max(p.width, len(name))
	p.order = append(p.order, name)
	p.names[name] = &sanitizer{colors: p.colors && !p.json, terminal: p.terminal}
}

// print writes a line or a part of one; it may stay in the buffer until flush.
func (p *printer) print(name string, line servicelog.Line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.names[name]
	if p.json {
		p.buf = s.line(p.buf[:0], line.Text, line.Partial)
		enc := json.NewEncoder(p.w)
		enc.SetEscapeHTML(false)
		return enc.Encode(api.LogLine{V: api.V, Time: line.Time.UTC(), Service: name, Line: string(p.buf), Partial: line.Partial})
	}
	p.buf = p.buf[:0]
	if p.open != name {
		if p.open != "" {
			p.buf = append(p.buf, '\n')
		}
		p.head(name, line.Time)
	}
	p.buf = s.line(p.buf, line.Text, line.Partial)
	p.open = name
	if !line.Partial {
		p.end(s)
		p.open = ""
	}
	_, err := p.w.Write(p.buf)
	return err
}

// head puts name and time in front.
func (p *printer) head(name string, t time.Time) {
	if p.prefix {
		p.buf = append(p.buf, p.paint(name)...)
		p.buf = append(p.buf, strings.Repeat(" ", p.width-len(name))...)
		p.buf = append(p.buf, " | "...)
	}
	if p.times {
		p.buf = t.Local().AppendFormat(p.buf, "2006-01-02T15:04:05.000Z07:00 ")
	}
}

// end ends the line, and its colour, where another service's line may follow.
func (p *printer) end(s *sanitizer) {
	if p.prefix && s.painted {
		p.buf = append(p.buf, "\x1b[0m"...)
		s.painted = false
	}
	p.buf = append(p.buf, '\n')
}

// palette is for the names of services.
var palette = []style{"36", "33", "32", "35", "34", "31"}

func (p *printer) paint(name string) string {
	if !p.colors {
		return name
	}
	for i, n := range p.order {
		if n == name {
			return palette[i%len(palette)].paint(name)
		}
	}
	return name
}

func (p *printer) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.Flush()
}

// close ends the last line, and the colours that are left on, and flushes.
func (p *printer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.names {
		if s.painted {
			_, _ = p.w.WriteString("\x1b[0m")
			break
		}
	}
	if p.open != "" && !p.raw {
		_ = p.w.WriteByte('\n')
		p.open = ""
	}
	return p.w.Flush()
}

// follow prints those lines that g lets through, as they come. It returns the error of ctx when that ends, and
// fs.ErrNotExist when the log was removed.
func (p *printer) follow(ctx context.Context, name string, r *servicelog.Reader, g *grep) error {
	for {
		// A service that never pauses must not hold Ctrl-C up.
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			if err := p.flush(); err != nil {
				return err
			}
			line, err = r.Follow(ctx)
		}
		if err != nil {
			return err
		}
		line, ok := g.add(line)
		if !ok {
			continue
		}
		if err := p.print(name, line); err != nil {
			return err
		}
	}
}

// drain prints what is left.
func (p *printer) drain(name string, r *servicelog.Reader) error {
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			if line, ok := r.Rest(); ok {
				return p.print(name, line)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.print(name, line); err != nil {
			return err
		}
	}
}
