package config

import "strings"

// didYouMean is ` (did you mean "restart"?)`, or "" when nothing was meant.
func didYouMean(meant string) string {
	if meant == "" {
		return ""
	}
	return " (did you mean " + quoted(meant) + "?)"
}

// nearest gives the word that was probably meant by s, or "". Of two that are equally near the first wins.
func nearest(s string, words []string) string {
	const longest = 64
	if len(s) > longest {
		return ""
	}
	best, least := "", max(1, min(3, len(s)/3))+1
	for _, w := range words {
		if len(w) > longest || len(w)-len(s) >= least || len(s)-len(w) >= least {
			continue
		}
		if n := distance(strings.ToLower(s), strings.ToLower(w)); n < least {
			best, least = w, n
		}
	}
	return best
}

// distance counts the letters to be changed, added, left out or swapped with the next to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
