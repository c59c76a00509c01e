package config

import (
	"maps"
	"strings"
	"testing"

	"github.com/joho/godotenv"
	"github.com/stretchr/testify/require"
)

// parseEnv reads text as an env file; nil, and what was said, when it is refused.
func parseEnv(text string) (vars []string, err error) {
	f := &source{name: ".env"}
	f.fill([]byte(text))
	var all problems
	p := &envParser{file: f, data: string(f.data), problems: &all, known: map[string]string{}}
	p.parse()
	if err := all.err(); err != nil {
		return nil, err
	}
	return p.vars, nil
}

// envs are env files and what they say. same: the library that others read them with says so, too.
var envs = []struct {
	text string
	want []string
	same bool
}{
	{"", nil, true},
	{"# x\n\n  # y\n", nil, true},
	{"A=1", []string{"A=1"}, true},
	{"A=1\r\nB=2\r\n", []string{"A=1", "B=2"}, true},
	{"  A = 1  \n\tB\t=\t2", []string{"A=1", "B=2"}, true},
	{"export A=1\nexport\tB=2", []string{"A=1", "B=2"}, true},
	{"export=1\nexported=2", []string{"export=1", "exported=2"}, true},
	{"A: 1\nB:2", []string{"A=1", "B=2"}, true},
	{"A=\nB=2", []string{"A=", "B=2"}, true},
	{"A=''\nB=\"\"", []string{"A=", "B="}, true},
	{"A=a b  c", []string{"A=a b  c"}, true},
	{"A=b # c", []string{"A=b"}, true},
	{"A=b#c", []string{"A=b#c"}, true},
	{"A=#c", []string{"A=#c"}, true},
	{"A='b' # c\nB=\"b\"#c", []string{"A=b", "B=b"}, true},
	{"A='b # c'\nB=\"b # c\"", []string{"A=b # c", "B=b # c"}, true},
	{"A=b=c==", []string{"A=b=c=="}, true},
	{"A=http://x:1/?a=b&c=$d", []string{"A=http://x:1/?a=b&c=$d"}, true},
	{"A='a\nb'\nB=\"a\nb\"", []string{"A=a\nb", "B=a\nb"}, true},
	{"A=\"a\r\nb\"", []string{"A=a\nb"}, true},
	{`A="a\nb\r\tc"`, []string{"A=a\nb\rtc"}, true},
	{`A='a\nb'`, []string{`A=a\nb`}, true},
	{`A=a\nb`, []string{`A=a\nb`}, true},
	{`A=a"b"c`, []string{`A=a"b"c`}, true},
	{`A="{\"a\": 1}"`, []string{`A={"a": 1}`}, true},
	{"A=1\nB=$A\nC=${A}x\nD=\"$A-${B}\"\nE='$A'", []string{"A=1", "B=1", "C=1x", "D=1-1", "E=$A"}, true},
	{"A=$NONE.\nB=${NONE}", []string{"A=.", "B="}, true},
	{`A=\$B` + "\n" + `C="\$B"`, []string{"A=$B", "C=$B"}, true},
	{"A=pa$word\nB=5$\nC=$(date)\nD=\"$\"", []string{"A=pa$word", "B=5$", "C=$(date)", "D=$"}, true},
	{"A.b=1\n_x=2\n1A=3", []string{"A.b=1", "_x=2", "1A=3"}, true},
	{"A=1\nA=2", []string{"A=1", "A=2"}, true},
	{"A=é ☃", []string{"A=é ☃"}, true},
	// It loses the last quote, takes what follows for part of the value, ends a comment at its last "#".
	{`A="say \"hi\""`, []string{`A=say "hi"`}, false},
	{`A="C:\\"` + "\nB=\"x\"", []string{`A=C:\`, "B=x"}, false},
	{"A=b # c # d", []string{"A=b"}, false},
	{`A='C:\'`, []string{`A=C:\`}, false},
	{`A="\\n"`, []string{`A=\n`}, true},
	{`A='"x"'` + "\n" + `B="'x'"`, []string{`A="x"`, "B='x'"}, true},
}

func TestEnvFilesMeanWhatTheyMeanElsewhere(t *testing.T) {
	for _, c := range envs {
		vars, err := parseEnv(c.text)
		require.NoError(t, err, "%q", c.text)
		require.Equal(t, c.want, vars, "%q", c.text)
		want := map[string]string{}
		for _, kv := range c.want {
			name, value, _ := strings.Cut(kv, "=")
			want[name] = value
		}
		have, err := godotenv.Unmarshal(c.text)
		require.Equal(t, c.same, err == nil && maps.Equal(want, have), "%q: the library says %q, %v", c.text, have, err)
	}
}

// TestJunkThatTheLibraryTakes is why it is not used: docs/adr/0008.
func TestJunkThatTheLibraryTakes(t *testing.T) {
	for _, text := range []string{"JUNK", "=x", "A B=1", `A="x" B=1`, `A="x"y`, "A=\x00"} {
		_, err := godotenv.Unmarshal(text)
		require.NoError(t, err, "%q: it is refused now: is it time to use the library?", text)
		_, err = parseEnv(text)
		require.Error(t, err, "%q", text)
	}
}

// FuzzEnvFile: no bytes make it panic or hang, and what it takes can be given to a program.
func FuzzEnvFile(f *testing.F) {
	for _, c := range envs {
		f.Add([]byte(c.text))
	}
	for _, c := range badProjects {
		f.Add([]byte(c.files["web.env"]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > MaxFile || invalidUTF8(data) >= 0 {
			return
		}
		vars, err := parseEnv(string(data))
		if err != nil {
			require.Nil(t, vars)
			return
		}
		for _, kv := range vars {
			name, _, _ := strings.Cut(kv, "=")
			require.NotEmpty(t, name)
			require.NotContains(t, kv, "\x00")
		}
	})
}
