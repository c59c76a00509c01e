package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// TestHugeFilesAreAnsweredInOnePass: what would be quadratic or deep in a careless reader, each close to the limit of
// a file. Without its bound, each takes minutes, gigabytes, or the stack.
func TestHugeFilesAreAnsweredInOnePass(t *testing.T) {
	fill := func(head, each string) string { return head + strings.Repeat(each, (MaxFile-len(head))/len(each)) }
	count := func(n int, each string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, each, i)
		}
		return b.String()
	}
	for what, files := range map[string]map[string]string{
		"deep key":              {FileName: fill("", "a.") + "a"},
		"deep header":           {FileName: fill("[", "a.")},
		"deep array":            {FileName: fill("a=", "[")},
		"deep table":            {FileName: fill("a=", "{a=")},
		"many unknown keys":     {FileName: count(50_000, "key_number_%d = 1\n")},
		"many unknown needs":    {FileName: web + "needs = [" + count(60_000, "\"db%d\",") + "]\n"},
		"many equal needs":      {FileName: web + "needs = [" + strings.Repeat("\"web\",", 100_000) + "]\n"},
		"many services":         {FileName: count(30_000, "[services.s%d]\nrun = \"a\"\n")},
		"many processes":        {ProcfileName: count(80_000, "s%d: a\n")},
		"many headers":          {FileName: count(60_000, "[a.b%d.c]\n")},
		"many parentheses":      {FileName: fill(web+"ready.log = '", "(")[:MaxFile-1] + "'"},
		"many repetitions":      {FileName: web + "ready.log = '" + strings.Repeat("(a{100}){100}", 10_000) + "'"},
		"many comments in env":  {FileName: web + "env_file = 'e'\nx=1", "e": fill("", "#\n")},
		"many names in env":     {FileName: web + "env_file = 'e'", "e": count(90_000, "V%d=1\n")},
		"many env files":        {FileName: web + "env_file = [" + strings.Repeat("'e',", 100_000) + "]", "e": strings.Repeat("A=1\n", 9_000)},
		"many bad names in env": {FileName: web + "env_file = 'e'", "e": fill("", "-\n")},
		"values of values":      {FileName: web + "env_file = 'e'", "e": "A=" + strings.Repeat("x", 100_000) + "\n" + strings.Repeat("B=$A\n", 100_000)},
	} {
		t.Run(what, func(t *testing.T) {
			for name := range files {
				if len(files[name]) > MaxFile {
					files[name] = files[name][:MaxFile]
				}
			}
			_, err := Load(project(t, files))
			require.NotEmpty(t, told(t, err))
			require.Less(t, len(err.Error()), 20*600)
		})
	}
}

func TestLongChainOfNeedsIsFollowed(t *testing.T) {
	var b strings.Builder
	for i := range maxServices {
		fmt.Fprintf(&b, "[services.s%d]\nrun = \"a\"\n", i)
		if i+1 < maxServices {
			fmt.Fprintf(&b, "needs = [\"s%d\"]\n", i+1)
		}
	}
	p, err := Load(project(t, map[string]string{FileName: b.String()}))
	require.NoError(t, err)
	list, err := p.Select([]string{"s0"})
	require.NoError(t, err)
	require.Len(t, list, maxServices)
	require.Equal(t, fmt.Sprint("s", maxServices-1), list[0].Name)

	b.WriteString("needs = [\"s0\"]\n")
	_, err = Load(project(t, map[string]string{FileName: b.String()}))
	require.Equal(t, `hob.toml:3000:10: service "s999": needs: a cycle: s0 → s1 → s2 → s3 → s4 → s5 → (988 more) → s994 → s995 → s996 → s997 → s998 → s999 → s0`, told(t, err))
}

// FuzzLoad: whatever bytes are hob.toml, hob.local.toml and a Procfile, there are errors that a terminal can show or
// services that can be started.
func FuzzLoad(f *testing.F) {
	for _, c := range bad {
		f.Add([]byte(c.file), []byte(""))
	}
	for _, c := range badProjects {
		f.Add([]byte(c.files[FileName]+c.files[ProcfileName]), []byte(c.files[LocalFileName]))
	}
	for _, c := range good {
		f.Add([]byte(c.files[FileName]+c.files[ProcfileName]), []byte(c.files[LocalFileName]))
	}
	root := project(f, map[string]string{".env": "A=1\n", "web.env": "B=2\n"})
	f.Fuzz(func(t *testing.T, data, local []byte) {
		if len(data)+len(local) > 1<<16 {
			return
		}
		require.NoError(t, os.WriteFile(filepath.Join(root, LocalFileName), local, 0o644))
		for _, name := range []string{FileName, ProcfileName} {
			path := filepath.Join(root, name)
			require.NoError(t, os.WriteFile(path, data, 0o644))
			p, err := Load(root)
			require.NoError(t, os.Remove(path))
			if err != nil {
				for _, line := range strings.Split(told(t, err), "\n") {
					require.Less(t, strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }), 0, "%q", line)
				}
				continue
			}
			for _, s := range p.Services {
				require.NoError(t, s.CheckArgs())
				require.NoError(t, service.CheckName(s.Name))
				require.NotZero(t, s.Stop.Signal)
				require.Positive(t, s.Stop.Timeout)
				require.GreaterOrEqual(t, s.Log.Max, int64(minLog))
				for _, kv := range s.Set {
					require.NotContains(t, kv, "\x00")
					require.Greater(t, strings.IndexByte(kv, '='), 0)
				}
			}
			all, err := p.Select(nil)
			require.NoError(t, err)
			require.LessOrEqual(t, len(all), len(p.Services))
			require.Len(t, p.Ordered(), len(p.Services))
		}
	})
}

func BenchmarkLoad100(b *testing.B) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "[services.s%d]\nrun = \"npm run dev -- --port %d\"\nenv = { PORT = %d, NODE_ENV = \"development\" }\nenv_file = [\".env\"]\nready = { tcp = \"127.0.0.1:%d\" }\n", i, i, i, i+1000)
		if i > 0 {
			fmt.Fprintf(&text, "needs = [\"s%d\"]\n", i-1)
		}
	}
	root := project(b, map[string]string{FileName: text.String(), ".env": strings.Repeat("SOME_VARIABLE=value\n", 50)})
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := Load(root); err != nil {
			b.Fatal(err)
		}
	}
}
