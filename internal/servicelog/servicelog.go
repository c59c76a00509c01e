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
// What it promises: on Linux a SIGKILL of the Writer at any instant loses no byte, as long
// as somebody else keeps the FIFO open; the next Writer goes on where the segment ends.
// A full disk costs bytes, which are counted, and never blocks the service. A damaged
// index costs times, never lines.
//
// It never slows the Writer for a Reader, never formats for people, and never removes
// what it did not make.
package servicelog

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Position is a place between two bytes of a log. The zero Position is its beginning.
type Position struct {
	Segment int   `json:"segment"`
	Offset  int64 `json:"offset"`
}

func segmentName(n int) string { return fmt.Sprintf("%08d.log", n) }
func indexName(n int) string   { return fmt.Sprintf("%08d.idx", n) }

// segments lists the numbers of the segments in dir, rising. Other names are not ours.
func segments(dir *os.File) ([]int, error) {
	// A descriptor of its own: reading entries moves the offset of the open directory.
	d, err := openDir(dir, ".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list log %s: %w", dir.Name(), err)
	}
	var found []int
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, ".log")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(stem)
		if err == nil && n > 0 && segmentName(n) == name {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found, nil
}
