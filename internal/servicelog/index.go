package servicelog

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// recordSize is the size of one index record: two little-endian 64-bit numbers.
const recordSize = 16

// A record says that the bytes of the segment below end, which no earlier record
// covers, arrived at nanos (since 1970, the wall clock).
type record struct {
	end   int64
	nanos int64
}

// endsPast compares without sign: what is not a size of any file is past every one.
func (r record) endsPast(offset int64) bool { return uint64(r.end) > uint64(offset) }

func (r record) encode() []byte {
	b := make([]byte, 0, recordSize)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.end))
	return binary.LittleEndian.AppendUint64(b, uint64(r.nanos))
}

func decodeRecord(b []byte) record {
	return record{int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))}
}

// firstAfter finds the first of n records that ends past offset. Whatever the records
// hold, the one before it does not end past offset and the one found does.
func firstAfter(n int64, at func(int64) record, offset int64) int64 {
	return int64(sort.Search(int(n), func(i int) bool { return at(int64(i)).endsPast(offset) }))
}

// maxClockStep is how far back the wall clock may be set before the index follows it.
// Below it time stands still: a step of the clock's daemon must not unsort the index,
// and a wrong time far in the future must not freeze it.
const maxClockStep = time.Minute

// An index is the writer's end of an index file.
type index struct {
	file *os.File
	n    int64 // whole records in the file
	last record
}

// size is that of the file. It has no bound of its own: what comes byte by byte has a record for each.
func (x *index) size() int64 { return x.n * recordSize }

// openIndex opens or makes the index of a segment that is size bytes long and was last
// written at mtime. A torn last record and records of bytes that are not there are cut
// off; bytes that no record covers, because the writer was killed before it could say so,
// get one.
func openIndex(dir *os.File, name string, size int64, mtime time.Time) (*index, error) {
	file, st, err := openRegular(dir, name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	x := &index{file: file, n: st.Size / recordSize}
	if err := x.cut(size, st.Size); err != nil {
		file.Close()
		return nil, err
	}
	if x.last.end < size {
		// No room for the record is no reason not to open: the next append covers it.
		_ = x.append(size, mtime)
	}
	return x, nil
}

// cut removes what speaks of bytes past size, and a torn record at the end, from the index
// that is length bytes long.
func (x *index) cut(size, length int64) error {
	var failed error
	at := func(i int64) record {
		var b [recordSize]byte
		if _, err := x.file.ReadAt(b[:], i*recordSize); err != nil {
			failed = fmt.Errorf("read log index %s: %w", x.file.Name(), err)
		}
		return decodeRecord(b[:])
	}
	// Nearly always the last record is good, and the only one to be read.
	if x.n > 0 && at(x.n-1).endsPast(size) {
		x.n = firstAfter(x.n-1, at, size)
	}
	x.last = record{}
	if x.n > 0 {
		x.last = at(x.n - 1)
	}
	if failed != nil {
		return failed
	}
	// Not where nothing is to be cut: after a truncation to 0, ext4 writes the file to the
	// disk when it is closed (auto_da_alloc, ext4(5)), and removing it then takes 1 ms.
	if length == x.size() {
		return nil
	}
	if err := x.file.Truncate(x.size()); err != nil {
		return fmt.Errorf("cut log index %s: %w", x.file.Name(), err)
	}
	return nil
}

// append records that the bytes up to end arrived at t. After an error the index is as it
// was, and the next append covers what this one did not: the record has its own place,
// so a half-written one is written over.
func (x *index) append(end int64, t time.Time) error {
	r := record{end: end, nanos: t.UnixNano()}
	if back := x.last.nanos - r.nanos; back > 0 && back < int64(maxClockStep) {
		r.nanos = x.last.nanos
	}
	if _, err := x.file.WriteAt(r.encode(), x.size()); err != nil {
		return fmt.Errorf("write log index: %w", err)
	}
	x.n, x.last = x.n+1, r
	return nil
}

// An indexView is a reader's end of an index file that may grow, be cut, or be damaged.
type indexView struct {
	file  *os.File
	n     int64
	hint  int64  // the record likely to be asked for next
	block []byte // the records from first on
	first int64
}

// blockRecords is how many records one read fetches.
const blockRecords = 256

// refresh learns how many records there are now and forgets what it read before: a
// writer may have cut a torn record and written another in its place.
func (x *indexView) refresh() {
	x.n, x.block = 0, x.block[:0]
	if x.file == nil {
		return
	}
	var st unix.Stat_t
	if unix.Fstat(int(x.file.Fd()), &st) == nil {
		x.n = st.Size / recordSize
	}
}

// at returns record i; one that cannot be read is the zero record, which covers nothing.
func (x *indexView) at(i int64) record {
	have := int64(len(x.block) / recordSize)
	if i < x.first || i >= x.first+have {
		x.first = i - i%blockRecords
		if cap(x.block) == 0 {
			x.block = make([]byte, 0, blockRecords*recordSize)
		}
		n, err := x.file.ReadAt(x.block[:cap(x.block)], x.first*recordSize)
		if err != nil && err != io.EOF {
			n = 0
		}
		x.block = x.block[:n-n%recordSize]
		have = int64(len(x.block) / recordSize)
	}
	if i < x.first || i >= x.first+have {
		return record{}
	}
	return decodeRecord(x.block[(i-x.first)*recordSize:])
}

// A stretch is a run of bytes that arrived together.
type stretch struct {
	start, end int64
	nanos      int64
}

// find returns the stretch that holds offset, in a segment of size bytes. ok is false when
// the index does not reach it, and then after is the time of the last record, or when the
// index contradicts the segment, and then after is 0.
func (x *indexView) find(offset, size int64) (s stretch, after int64, ok bool) {
	i := x.hint
	if i >= x.n || !x.at(i).endsPast(offset) || i > 0 && x.at(i-1).endsPast(offset) {
		i = firstAfter(x.n, x.at, offset)
	}
	var prev record
	if i > 0 {
		prev = x.at(i - 1)
	}
	if i == x.n {
		return stretch{}, prev.nanos, false
	}
	r := x.at(i)
	if r.endsPast(size) || !r.endsPast(offset) || prev.endsPast(offset) || r.nanos <= 0 {
		return stretch{}, 0, false
	}
	x.hint = i + 1 // lines are asked for in order
	return stretch{prev.end, r.end, r.nanos}, 0, true
}

// since returns where the bytes begin that arrived at nanos or later, in a segment of size
// bytes; false when the index knows of none.
func (x *indexView) since(nanos, size int64) (int64, bool) {
	i := int64(sort.Search(int(x.n), func(i int) bool { return x.at(int64(i)).nanos >= nanos }))
	if i == x.n {
		return x.covered(size), false
	}
	if i == 0 || x.at(i-1).endsPast(size) { // a damaged index shows more, never less
		return 0, true
	}
	return x.at(i - 1).end, true
}

// covered returns how far the index reaches into a segment of size bytes.
func (x *indexView) covered(size int64) int64 {
	if x.n == 0 || x.at(x.n-1).endsPast(size) {
		return 0
	}
	return x.at(x.n - 1).end
}
