package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearest(t *testing.T) {
	words := []string{"run", "restart", "ready", "needs", "env", "env_file", "log"}
	for s, want := range map[string]string{
		"rnu": "run", "Run": "run", "restrat": "restart", "redy": "ready", "need": "needs", "envfile": "env_file", "lgo": "log", "x": "", "": "", "nonsense": "", "evn": "env", "ran": "run",
	} {
		require.Equal(t, want, nearest(s, words), s)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}} {
		require.Equal(t, c.want, distance(c.a, c.b), "%q %q", c.a, c.b)
		require.Equal(t, c.want, distance(c.b, c.a), "%q %q", c.b, c.a)
	}
}

// TestEveryForeignKeyLeadsToOneOfOurs: what is suggested must exist, and what is ours is never foreign.
func TestEveryForeignKeyLeadsToOneOfOurs(t *testing.T) {
	tables := map[string]map[string]bool{}
	for _, table := range allTables() {
		tables[table.name] = map[string]bool{}
		for _, k := range table.keys {
			tables[table.name][k.name] = true
			for _, sub := range k.sub {
				tables[table.name][k.name+"."+sub] = true
			}
		}
	}
	for table, keys := range foreignKeys() {
		require.Contains(t, tables, table)
		for theirs, ours := range keys {
			require.True(t, tables[table][ours], "%s: %s", table, ours)
			require.False(t, tables[table][theirs], "%s: %s is a key", table, theirs)
		}
	}
}
