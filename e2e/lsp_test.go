//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lsp is a client of a language server, as an editor is.
type lsp struct {
	t    *testing.T
	root string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	last int // id
	open map[string]bool
}

// lspMessage is any message of JSON-RPC 2.0.
type lspMessage struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// startLSP starts a server that speaks on stdin and stdout, and opens a folder with it.
func startLSP(t *testing.T, cmd *exec.Cmd, root string) *lsp {
	t.Helper()
	l := &lsp{t: t, root: root, cmd: cmd, open: map[string]bool{}}
	var err error
	l.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	l.out = bufio.NewReaderSize(out, 1<<20)
	require.NoError(t, cmd.Start())
	late := time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		late.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	l.call("initialize", map[string]any{
		"processId": nil, "rootUri": fileURI(root), "workspaceFolders": []any{map[string]any{"uri": fileURI(root), "name": "root"}},
		"capabilities": map[string]any{"textDocument": map[string]any{"hover": map[string]any{"contentFormat": []string{"markdown"}}}},
	})
	l.notify("initialized", map[string]any{})
	return l
}

func fileURI(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

func (l *lsp) send(m map[string]any) {
	l.t.Helper()
	m["jsonrpc"] = "2.0"
	data, err := json.Marshal(m)
	require.NoError(l.t, err)
	_, err = fmt.Fprintf(l.in, "Content-Length: %d\r\n\r\n%s", len(data), data)
	require.NoError(l.t, err)
}

func (l *lsp) notify(method string, params any) {
	l.t.Helper()
	l.send(map[string]any{"method": method, "params": params})
}

// call waits for the answer, and gives the server's own questions the shortest one.
func (l *lsp) call(method string, params any) json.RawMessage {
	l.t.Helper()
	l.last++
	id := strconv.Itoa(l.last)
	l.send(map[string]any{"id": l.last, "method": method, "params": params})
	for {
		m := l.read()
		switch {
		case m.Method != "" && m.ID != nil:
			var answer any
			if m.Method == "workspace/configuration" {
				answer = []any{nil}
			}
			l.send(map[string]any{"id": m.ID, "result": answer})
		case m.Method == "" && string(m.ID) == id:
			require.Nil(l.t, m.Error, "%s: %+v", method, m.Error)
			return m.Result
		}
	}
}

func (l *lsp) read() (m lspMessage) {
	l.t.Helper()
	head, err := textproto.NewReader(l.out).ReadMIMEHeader()
	require.NoError(l.t, err)
	n, err := strconv.Atoi(head.Get("Content-Length"))
	require.NoError(l.t, err)
	data := make([]byte, n)
	_, err = io.ReadFull(l.out, data)
	require.NoError(l.t, err)
	require.NoError(l.t, json.Unmarshal(data, &m))
	return m
}

// close ends the session as an editor does.
func (l *lsp) close() {
	l.t.Helper()
	l.call("shutdown", nil)
	l.notify("exit", nil)
	require.NoError(l.t, l.in.Close())
	_, _ = io.Copy(io.Discard, l.out)
	require.NoError(l.t, l.cmd.Wait())
}

// at asks about the first place in a file where needle stands, as many bytes into it. Answers are sorted, since no order is promised.
func (l *lsp) at(method, file, needle string, into int, more map[string]any) string {
	l.t.Helper()
	path := filepath.Join(l.root, file)
	text, err := os.ReadFile(path)
	require.NoError(l.t, err)
	if !l.open[file] {
		l.open[file] = true
		l.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": fileURI(path), "languageId": "go", "version": 1, "text": string(text)}})
	}
	before, _, found := strings.Cut(string(text), needle)
	require.True(l.t, found, "%s has no %q", file, needle)
	line := strings.Count(before, "\n")
	column := len(before) - strings.LastIndex(before, "\n") - 1 + into
	params := map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}, "position": map[string]any{"line": line, "character": column}}
	for k, v := range more {
		params[k] = v
	}
	return sorted(l.t, l.call(method, params))
}

// sorted gives a document in which arrays have the order of their elements' text.
func sorted(t *testing.T, raw json.RawMessage) string {
	var v any
	require.NoError(t, json.Unmarshal(raw, &v))
	var order func(v any) any
	order = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = order(v[k])
			}
		case []any:
			for i := range v {
				v[i] = order(v[i])
			}
			slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return v
	}
	data, err := json.Marshal(order(v))
	require.NoError(t, err)
	return string(data)
}
