package config

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// badProjects are projects in which another file than hob.toml is wrong, or two together.
var badProjects = []struct {
	what  string
	files map[string]string
	want  string
}{
	// hob.local.toml.
	{"syntax in both", map[string]string{FileName: "x", LocalFileName: "[y"},
		"hob.toml:1:1: expected '=' after key\nhob.local.toml:1:2: expected ']' to close table name"},
	{"syntax in the local file", map[string]string{FileName: web + "foo = 1\n", LocalFileName: "\ny"},
		"hob.toml:3:1: service \"web\": unknown key \"foo\"\nhob.local.toml:2:1: expected '=' after key"},
	{"unknown key in the local file", map[string]string{FileName: web, LocalFileName: "[services.web]\nrn = \"b\"\n"},
		`hob.local.toml:2:1: service "web": unknown key "rn" (did you mean "run"?)`},
	{"bad value in the local file", map[string]string{FileName: web + "stop.timeout = \"3s\"\n", LocalFileName: "services.web.stop.timeout = \"x\"\n"},
		`hob.local.toml:1:29: service "web": stop.timeout: "x" is not a duration like "500ms", "10s" or "1m30s"`},
	{"bad value that the local file replaces", map[string]string{FileName: web + "restart = \"x\"\n", LocalFileName: "services.web.restart = \"no\"\n"},
		`hob.toml:3:11: service "web": restart: "x" is not "no", "on-failure" or "always"`},
	{"new service without run", map[string]string{FileName: web, LocalFileName: "[services.api]\nenv = { A = 1 }\n"},
		"hob.local.toml:1:11: service \"api\": run is missing\nhint: run = \"npm run dev\", or [\"npm\", \"run\", \"dev\"]"},
	{"need of the local file", map[string]string{FileName: web, LocalFileName: "[services.web]\nneeds = [\"wbe\"]\n"},
		`hob.local.toml:2:10: service "web": needs: no service "wbe" (did you mean "web"?)`},
	{"cycle through both", map[string]string{FileName: web + "needs = [\"api\"]\n[services.api]\nrun = \"a\"\n", LocalFileName: "services.api.needs = [\"web\"]\n"},
		`hob.local.toml:1:23: service "api": needs: a cycle: web → api → web`},
	{"second kind of ready in one table", map[string]string{FileName: web, LocalFileName: "services.web.ready = { fd = 3, tcp = \"h:1\" }\n"},
		`hob.local.toml:1:32: service "web": ready: it has both fd and tcp, and only one of log, tcp, http, exec, notify or fd can be`},
	{"local file is not UTF-8", map[string]string{FileName: web, LocalFileName: "# \xff\n"},
		`hob.local.toml:1:3: byte 0xff is not UTF-8`},
	// Procfile.
	{"no colon", map[string]string{ProcfileName: "# x\n\nweb node server.js\n"},
		`Procfile:3:1: expected NAME: COMMAND, not "web node server.js"`},
	{"no command", map[string]string{ProcfileName: "web:   \n"},
		`Procfile:1:1: service "web": no command`},
	{"no name", map[string]string{ProcfileName: "  : node\n"},
		`Procfile:1:3: service name "": not [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without ".."`},
	{"bad name", map[string]string{ProcfileName: "my web: node\n"},
		`Procfile:1:1: service name "my web": not [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without ".."`},
	{"name twice", map[string]string{ProcfileName: "web: a\nworker: b\nweb: c\n"},
		`Procfile:3:1: service "web" is already defined in line 1`},
	{"several lines", map[string]string{ProcfileName: "a\nb: c\r\nd\r\n"},
		"Procfile:1:1: expected NAME: COMMAND, not \"a\"\nProcfile:3:1: expected NAME: COMMAND, not \"d\""},
	{"NUL", map[string]string{ProcfileName: "web: a\x00b\n"},
		`Procfile:1:7: a NUL byte, which no program can be given`},
	{"Procfile is not UTF-8", map[string]string{ProcfileName: "web: a\nx: \xff\xfe\n"},
		`Procfile:2:4: byte 0xff is not UTF-8`},
	{"binary Procfile", map[string]string{ProcfileName: "\x7fELF\x02\x01"},
		`Procfile:1:1: expected NAME: COMMAND, not "\x7fELF\x02\x01"`},
	{"a long line", map[string]string{ProcfileName: strings.Repeat("x", 500) + "\n"},
		`Procfile:1:1: expected NAME: COMMAND, not "` + strings.Repeat("x", 80) + `…"`},
	{"no more than 20", map[string]string{ProcfileName: strings.Repeat("x\n", 500)},
		numbered(20, `Procfile:%d:1: expected NAME: COMMAND, not "x"`) + "\nand more"},
	// Env files, beside a Procfile and named by a service. No error has a value in it.
	{".env of a Procfile", map[string]string{ProcfileName: "web: a\n", ".env": "SECRET\n"},
		`.env:1:1: expected NAME=VALUE; there is no "="`},
	{"no equals sign at the end", envFile1("A=1\nSECRET"), `web.env:2:1: expected NAME=VALUE; there is no "="`},
	{"no equals sign", envFile1("A=1\nhunter2 is it\n"), `web.env:2:8: expected NAME=VALUE, with a name of letters, digits, "_" and "."`},
	{"no name", envFile1("=secret\n"), `web.env:1:1: expected NAME=VALUE; there is no name`},
	{"bad name", envFile1("A-B=secret\n"), `web.env:1:2: expected NAME=VALUE, with a name of letters, digits, "_" and "."`},
	{"two names", envFile1("export A B=secret\n"), `web.env:1:9: expected NAME=VALUE, with a name of letters, digits, "_" and "."`},
	{"name not in ASCII", envFile1("é=secret\n"), `web.env:1:1: expected NAME=VALUE, with a name of letters, digits, "_" and "."`},
	{"open quote", envFile1("A=1\nB=\"secret\nC=2\n"), `web.env:2:3: variable "B": the quote is not closed`},
	{"open single quote", envFile1("A='secret\n"), `web.env:1:3: variable "A": the quote is not closed`},
	{"escaped end", envFile1(`A="secret\"`), `web.env:1:3: variable "A": the quote is not closed`},
	{"behind the quote", envFile1(`A="x" secret`), `web.env:1:6: variable "A": something follows the closing quote`},
	{"two on a line", envFile1(`A='x' B='y'`), `web.env:1:6: variable "A": something follows the closing quote`},
	{"default value", envFile1(`A=${B:-secret}`), `web.env:1:3: variable "A": only $NAME and ${NAME} are replaced; write \$ for a $ that stays`},
	{"open brace", envFile1(`A="${B"`), `web.env:1:4: variable "A": only $NAME and ${NAME} are replaced; write \$ for a $ that stays`},
	{"NUL", envFile1("A=1\nB=sec\x00ret\n"), `web.env:2:6: a NUL byte, which no program can be given`},
	{"env file is not UTF-8", envFile1("A=1\nB=\xe9\n"), `web.env:2:3: byte 0xe9 is not UTF-8`},
	{"several", envFile1("A\nB=1\nC\n"), "web.env:1:1: expected NAME=VALUE; there is no \"=\"\nweb.env:3:1: expected NAME=VALUE; there is no \"=\""},
	{"a key in quotes", envFile1("\"A\"=1\n"), `web.env:1:1: expected NAME=VALUE, with a name of letters, digits, "_" and "."`},
	{"values of values", envFile1("A=" + strings.Repeat("x", 1000) + "\n" + doubling(30)), "web.env:11:1: the values up to here have more than 1048576 bytes"},
	{"env file and hob.toml", map[string]string{FileName: web + "env_file = \"web.env\"\nfoo = 1\n", "web.env": "A\n"},
		"hob.toml:4:1: service \"web\": unknown key \"foo\"\nweb.env:1:1: expected NAME=VALUE; there is no \"=\""},
	{"env file of two services", map[string]string{FileName: web + "env_file = \"web.env\"\n[services.api]\nrun = \"a\"\nenv_file = \"./web.env\"\n", "web.env": "A\n"},
		"web.env:1:1: expected NAME=VALUE; there is no \"=\""},
}

func envFile1(text string) map[string]string {
	return map[string]string{FileName: web + "env_file = [\"web.env\"]\n", "web.env": text}
}

// doubling gives variables of which each is twice the last.
func doubling(n int) string {
	var b strings.Builder
	last := "A"
	for i := range n {
		name := "A" + strings.Repeat("A", i+1)
		b.WriteString(name + "=$" + last + "$" + last + "\n")
		last = name
	}
	return b.String()
}

func TestBadProjectsAreRefusedWithTheirPlace(t *testing.T) {
	for _, c := range badProjects {
		t.Run(c.what, func(t *testing.T) {
			p, err := Load(project(t, c.files))
			require.Nil(t, p)
			require.Equal(t, c.want, told(t, err))
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

// TestWhatIsNoFileIsRefused: nothing that lies where a file should be is waited for.
func TestWhatIsNoFileIsRefused(t *testing.T) {
	kinds := []struct {
		want string
		make func(t *testing.T, path string)
	}{
		{"a directory, not a file", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o755)) }},
		{"a FIFO, not a file", func(t *testing.T, path string) { require.NoError(t, unix.Mkfifo(path, 0o644)) }},
		{"a socket, not a file", func(t *testing.T, path string) {
			short := filepath.Join(os.TempDir(), "hob-config-"+filepath.Base(filepath.Dir(filepath.Dir(path)))+".sock")
			l, err := net.Listen("unix", short)
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
			require.NoError(t, os.Symlink(short, path))
		}},
		{"a device, not a file", func(t *testing.T, path string) { require.NoError(t, os.Symlink("/dev/zero", path)) }},
		{"a symbolic link to nothing", func(t *testing.T, path string) { require.NoError(t, os.Symlink("nothing", path)) }},
		{"too many levels of symbolic links", func(t *testing.T, path string) { require.NoError(t, os.Symlink(filepath.Base(path), path)) }},
		{"more than 1048576 bytes", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("# 4567\n", 2<<20/7)), 0o644))
		}},
	}
	places := []struct {
		name  string
		files map[string]string
	}{
		{FileName, nil},
		{LocalFileName, map[string]string{FileName: web}},
		{ProcfileName, nil},
		{"web.env", map[string]string{FileName: web + "env_file = [\"web.env\"]\n"}},
	}
	for _, k := range kinds {
		for _, p := range places {
			t.Run(p.name+" "+k.want, func(t *testing.T) {
				root := project(t, p.files)
				k.make(t, filepath.Join(root, p.name))
				_, err := Load(root)
				require.Equal(t, p.name+": "+k.want, told(t, err))
			})
		}
	}
}

func TestUnreadableFileIsRefused(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	root := project(t, map[string]string{FileName: web})
	require.NoError(t, os.Chmod(filepath.Join(root, FileName), 0))
	_, err := Load(root)
	require.Equal(t, "hob.toml: permission denied", told(t, err))
}

// TestFilesOfOthersAreRefused: who can write a file into a project must not decide what runs here, unless it is root.
func TestFilesOfOthersAreRefused(t *testing.T) {
	require.NoError(t, checkOwner(1000, 1000))
	require.NoError(t, checkOwner(0, 1000))
	require.EqualError(t, checkOwner(1001, 1000), "owned by uid 1001, not by you (uid 1000) or root")
	require.Error(t, checkOwner(1000, 0))
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	files := map[string]string{FileName: web + "env_file = \"web.env\"\n", LocalFileName: web, "web.env": "A=1\n"}
	for name, want := range map[string]string{
		FileName:      "hob.toml: owned by uid 12345, not by you (uid 0) or root\nhint: if you trust it, make it yours: chown 0",
		LocalFileName: "hob.local.toml: owned by uid 12345, not by you (uid 0) or root\nhint: if you trust it, make it yours: chown 0",
		"web.env":     "",
	} {
		root := project(t, files)
		require.NoError(t, os.Chown(filepath.Join(root, name), 12345, -1))
		_, err := Load(root)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, want, told(t, err))
	}
	root := project(t, map[string]string{ProcfileName: "web: a\n"})
	require.NoError(t, os.Chown(filepath.Join(root, ProcfileName), 12345, -1))
	_, err := Load(root)
	require.Equal(t, "Procfile: owned by uid 12345, not by you (uid 0) or root\nhint: if you trust it, make it yours: chown 0", told(t, err))
}

func TestNoFileIsAnErrorOfItsOwn(t *testing.T) {
	root := project(t, map[string]string{"README": "x"})
	_, err := Load(root)
	var missing *MissingError
	require.ErrorAs(t, err, &missing)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "no hob.toml or Procfile in "+root)

	root = project(t, map[string]string{LocalFileName: web})
	_, err = Load(root)
	require.EqualError(t, err, "no hob.toml or Procfile in "+root+"; hob.local.toml is merged over hob.toml and does not stand alone")

	_, err = Load(filepath.Join(root, "nowhere"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Load("relative")
	require.ErrorIs(t, err, fs.ErrInvalid)
}

// numbered gives n lines, each with its number.
func numbered(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i+1)
	}
	return strings.Join(list, "\n")
}
