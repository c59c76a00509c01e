package version

import (
	"strconv"
	"strings"

	"golang.org/x/mod/semver"
)

// Compare says which of two builds is the later one, by their version: -1 when a is the earlier, 1 when it is the later, 0 when they are equal in that
// respect. ok is false when one of them has no version that can be compared: "devel", or the hash of a commit. Between two releases
// stand what "git describe" calls a build after one, and the pseudo-version that the go command gives to a commit, which has its time in it.
func Compare(a, b string) (order int, ok bool) {
	a, b = canonical(a), canonical(b)
	if !semver.IsValid(a) || !semver.IsValid(b) {
		return 0, false
	}
	return semver.Compare(a, b), true
}

// canonical gives a version that semver orders as it was meant: v1.2.3-5-gabcdef is five commits after v1.2.3, and not before it.
func canonical(v string) string {
	v = strings.TrimSuffix(v, "-dirty")
	rest, hash, found := cutLast(v, "-g")
	if !found || !isHex(hash) {
		return v
	}
	release, count, found := cutLast(rest, "-")
	n, err := strconv.Atoi(count)
	if !found || err != nil || !semver.IsValid(release) {
		return v
	}
	if semver.Prerelease(release) != "" {
		return release + "." + strconv.Itoa(n)
	}
	major, patch, _ := cutLast(release, ".")
	p, err := strconv.Atoi(patch)
	if err != nil {
		return v
	}
	return major + "." + strconv.Itoa(p+1) + "-0." + strconv.Itoa(n)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func isHex(s string) bool {
	return len(s) >= 4 && strings.Trim(s, "0123456789abcdef") == ""
}
