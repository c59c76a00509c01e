// Package servicelog keeps what a service writes, and reads it back.
//
// A Writer moves bytes from the FIFO that is the service's stdout and stderr into a
// directory of numbered segments. A Reader reads that directory; it needs no Writer, and
// there may be any number of them.
//
//	00000001.log 00000001.idx 00000002.log 00000002.idx …
//
// The highest number is the one being written. A segment is byte-exact: what was written
// to the FIFO and nothing else, so cat, grep and tail -f work on it. A line may begin in
// one segment and end in the next. The index beside it says when the bytes arrived.
//
// With a Max the log rotates: a segment that has reached Max ends with its line, or in it
// when that would take more than Max again, so that none is longer than twice Max; the next
// one begins with the next bytes, and then the oldest beyond Keep are removed. (On darwin a
// segment ends where a move happens to end with a line.) Only where there can be no new
// segment does the old one grow on.
//
// What it promises: on Linux a SIGKILL of the Writer at any instant loses no byte, as long
// as somebody else keeps the FIFO open; the next Writer goes on where the segment ends.
// Rotation loses, repeats and reorders none. A Reader that is outrun goes on with the
// oldest segment that is left, after the end of the one that it has open.
// A full disk costs bytes, which are counted, and never blocks the service. A damaged
// index costs times, never lines.
//
// It never slows the Writer for a Reader, never formats for people, never removes what it
// did not make, and never removes old lines to make room on a full disk.
package servicelog

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Position is a place between two bytes of a log. The zero Position is its beginning.
type Position struct {
	Segment int   `json:"segment"`
	Offset  int64 `json:"offset"`
}

func segmentName(n int) string { return fmt.Sprintf("%08d.log", n) }
func indexName(n int) string   { return fmt.Sprintf("%08d.idx", n) }

// Before tells whether p comes before q in the log. The end of a segment and the beginning
// of the next are two Positions, though no byte is between them.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// segments lists the numbers of the segments in dir, rising.
func segments(dir *os.File) ([]int, error) {
	logs, _, err := entries(dir)
	if len(logs) == 0 && err == nil {
		logs, _, err = entries(dir) // the only one may have been followed meanwhile
	}
	return withMissed(dir, logs), err
}

// withMissed adds what a list lacks that was made while the directory rotated. getdents(2)
// stops at a signal and goes on later, so 6 can be listed and 5 not, although it is there.
// Segments are made in order and removed in order, so what was missed is right before one
// that was not (TestFollowerReadsEveryLineAcrossRotation).
func withMissed(dir *os.File, listed []int) []int {
	var all []int
	for i, n := range slices.Backward(listed) {
		before := 0
		if i > 0 {
			before = listed[i-1]
		}
		all = append(all, n)
		for n--; n > before && exists(dir, segmentName(n)); n-- {
			all = append(all, n)
		}
	}
	slices.Reverse(all)
	return all
}

func exists(dir *os.File, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// entries lists the numbers of the segments and of the indexes in dir, rising. Other names
// are not ours.
func entries(dir *os.File) (logs, indexes []int, err error) {
	// A descriptor of its own: reading entries moves the offset of the open directory.
	d, err := openDir(dir, ".")
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, nil, fmt.Errorf("list log %s: %w", dir.Name(), err)
	}
	for _, name := range names {
		stem, _, _ := strings.Cut(name, ".")
		n, err := strconv.Atoi(stem)
		switch {
		case err != nil || n <= 0:
		case name == segmentName(n):
			logs = append(logs, n)
		case name == indexName(n):
			indexes = append(indexes, n)
		}
	}
	slices.Sort(logs)
	slices.Sort(indexes)
	return logs, indexes, nil
}
