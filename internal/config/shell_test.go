package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOneSimpleCommandTakesThePlaceOfItsShell(t *testing.T) {
	for _, text := range []string{
		"a", "npm run dev", "postgres -D .pg", " a b ", "a\n", "a \\\n  -b \\\n  -c\n", `a "b; c" 'd && e' \; \&`, "a $VAR ${VAR} *.go ~/x", "./a", "/bin/a",
		`"my program" x`, "'a'", "a#b", "a # it stays", `sh -c 'a; b'`, "a b=c", "env A=1 b", "a {x,y} [z]", "1=2", "a if", "a !", `a "$HOME/x" "\"" "\$("`, "café",
		"test -f x", "echo x", "kill 3", "a=", "nice -n 5 a",
	} {
		argv, simple := shellCommand(text)
		if text == "a=" {
			require.False(t, simple, text)
			continue
		}
		require.True(t, simple, text)
		require.Equal(t, []string{"sh", "-c", "exec " + text}, argv, text)
	}
}

func TestAnExecThatIsThereStays(t *testing.T) {
	for text, want := range map[string]bool{"exec a b": true, "exec\ta": true, "  exec a": true, "exec a; b": false, "exec": false, "exec -a x y": false, "exec cd x": false, "exec A=1 b": false} {
		argv, simple := shellCommand(text)
		require.Equal(t, want, simple, text)
		require.Equal(t, []string{"sh", "-c", text}, argv, text)
	}
}

func TestWhatAShellMustDoIsLeftToIt(t *testing.T) {
	for _, text := range []string{
		"a; b", "a && b", "a || b", "a | b", "a &", "a > x", "a < x", "a 2>&1", "(a)", "a\nb", "a `b`", "a $(b)", `a "$(b)"`, "a \"`b`\"", "a ${x:-$(y)}", "$((1))",
		"A=1 a", "A+=1 a", "_x= a", "if a", "while a", "for a", "case a", "{ a", "! a", "[[ a", "# a", "-a",
		"cd x", "export A", ". x", "source x", "set -e", "unset a", "eval a", "trap a", "exit 3", "return", "break", "continue", "shift", "wait", "umask 0", "ulimit -n 3",
		"alias a", "type a", "command a", "hash a", "read a", "local a", "times", ":", "time a", "'cd' x", "a 'b", `a "b`, `a \`, `a "b\`, "''",
	} {
		argv, simple := shellCommand(text)
		require.False(t, simple, text)
		require.Equal(t, []string{"sh", "-c", text}, argv, text)
	}
}

func TestNothingIsNoCommand(t *testing.T) {
	for _, text := range []string{"", " ", "\n", "\t \r\n"} {
		argv, _ := shellCommand(text)
		require.Nil(t, argv, "%q", text)
	}
}

// TestLongCommandsAreReadInOnePass: "exec" in front of "exec" is looked at once more, not as often as it stands there.
func TestLongCommandsAreReadInOnePass(t *testing.T) {
	_, simple := shellCommand(strings.Repeat("exec ", 200_000) + "a")
	require.False(t, simple)
	_, simple = shellCommand(strings.Repeat("a ", 500_000))
	require.True(t, simple)
}
