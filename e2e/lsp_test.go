//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lsp is an editor's side of the language server protocol, over the two pipes of a command.
type lsp struct {
	t      *testing.T
	root   string
	server *exec.Cmd
	stdin  io.WriteCloser
	stderr *output
	ended  chan struct{} // closed once the command's output has ended

	mu      sync.Mutex // of what follows, and of writes
	last    int
	waiting map[int]chan message
}

// message is any of the protocol: a request has an id and a method, a notification only a method, a reply only an id.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// openLSP starts the command and begins a session for the directory. The caller closes it; with the test it is killed.
func openLSP(t *testing.T, cmd *exec.Cmd, root string) *lsp {
	t.Helper()
	c := &lsp{t: t, root: root, server: cmd, stderr: &output{}, ended: make(chan struct{}), waiting: map[int]chan message{}}
	var err error
	c.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr, cmd.WaitDelay = c.stderr, patience
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-c.ended; _ = cmd.Wait() })
	go func() { c.read(bufio.NewReader(stdout)); close(c.ended) }()

	uri := "file://" + root
	c.ask("initialize", map[string]any{
		"processId": os.Getpid(), "rootUri": uri, "capabilities": map[string]any{},
		"workspaceFolders":      []any{map[string]any{"uri": uri, "name": "project"}},
		"initializationOptions": map[string]any{"hoverKind": "SingleLine"},
	})
	c.send(message{Method: "initialized", Params: map[string]any{}})
	return c
}

// send writes one message.
func (c *lsp) send(m message) {
	m.Version = "2.0"
	body, err := json.Marshal(m)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(c.stdin, "Content-Length: %d\r\n\r\n%s", len(body), body) // who waits for an answer notices the end
}

// read is the session's one reader. It returns when the command's output ends.
func (c *lsp) read(r *bufio.Reader) {
	for {
		header, err := textproto.NewReader(r).ReadMIMEHeader()
		if err != nil {
			return
		}
		n, err := strconv.Atoi(header.Get("Content-Length"))
		if err != nil {
			c.t.Errorf("a message without its length: %v", header)
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			c.t.Errorf("%v: %s", err, body)
			return
		}
		c.handle(m)
	}
}

// handle passes a reply on to who waits for it, and answers what the server asks: that there is nothing to tell.
func (c *lsp) handle(m message) {
	switch {
	case m.Method == "" && m.ID != nil:
		id, _ := strconv.Atoi(string(m.ID))
		c.mu.Lock()
		reply := c.waiting[id]
		delete(c.waiting, id)
		c.mu.Unlock()
		if reply != nil {
			reply <- m
		}
	case m.ID != nil:
		result := json.RawMessage("null")
		if params, _ := m.Params.(map[string]any); m.Method == "workspace/configuration" {
			items, _ := params["items"].([]any)
			result, _ = json.Marshal(make([]any, len(items)))
		}
		go c.send(message{ID: m.ID, Result: result}) // the reader must go on
	}
}

// ask calls a method and returns its result. It fails the test where there is an error, or no answer.
func (c *lsp) ask(method string, params any) json.RawMessage {
	c.t.Helper()
	return c.begin(method, params)()
}

// begin calls a method; what it returns waits for the result as ask does.
func (c *lsp) begin(method string, params any) func() json.RawMessage {
	reply := make(chan message, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = reply
	c.mu.Unlock()
	c.send(message{ID: json.RawMessage(strconv.Itoa(id)), Method: method, Params: params})
	return func() json.RawMessage {
		c.t.Helper()
		select {
		case m := <-reply:
			require.Empty(c.t, string(m.Error), "%s %v", method, params)
			return m.Result
		case <-c.ended:
			require.Fail(c.t, "the session ended", "%s %v\n%s", method, params, c.stderr)
		case <-time.After(2 * patience):
			require.Fail(c.t, "no answer", "%s %v\n%s", method, params, c.stderr)
		}
		return nil
	}
}

// close ends the session in good order.
func (c *lsp) close() {
	c.t.Helper()
	c.ask("shutdown", nil)
	c.send(message{Method: "exit"})
	require.NoError(c.t, c.stdin.Close())
	select {
	case <-c.ended:
	case <-time.After(patience):
		require.Fail(c.t, "the session did not end", "%s", c.stderr)
	}
	require.NoError(c.t, c.server.Wait(), c.stderr.String())
}

// place is an identifier: the word within the first occurrence of a text in a file.
type place struct{ file, text, word string }

// at is the place as the protocol has it.
func (c *lsp) at(p place) map[string]any {
	c.t.Helper()
	path := filepath.Join(c.root, p.file)
	data, err := os.ReadFile(path)
	require.NoError(c.t, err)
	before, _, found := bytes.Cut(data, []byte(p.text))
	require.True(c.t, found, "%s has no %q", p.file, p.text)
	before = append(before, p.text[:strings.Index(p.text, p.word)]...)
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return map[string]any{
		"textDocument": map[string]any{"uri": "file://" + path},
		"position":     map[string]any{"line": bytes.Count(before, []byte("\n")), "character": column},
	}
}

// sorted is the JSON with every list in it in an order of its own.
func sorted(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(text, &v))
	out, err := json.Marshal(sortLists(v))
	require.NoError(t, err)
	return string(out)
}

func sortLists(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = sortLists(v[key])
		}
	case []any:
		for i := range v {
			v[i] = sortLists(v[i])
		}
		slices.SortFunc(v, func(a, b any) int {
			x, _ := json.Marshal(a) // they came as JSON
			y, _ := json.Marshal(b)
			return bytes.Compare(x, y)
		})
	}
	return v
}
