package servicelog

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkThroughput: lines of 100 bytes from a service into its log, in one segment and
// in segments of 10 MB of which three full ones are kept, and into one file by cat, in
// turn. The ratio is what counts; hob/cat+rm has the removal of cat's file in it, as hob's
// has the removal of old segments.
func BenchmarkThroughput(b *testing.B) {
	for _, c := range []struct {
		lines, total int
		max          int64
	}{{1, 100 << 20, 0}, {1, 100 << 20, 10 << 20}, {640, 800 << 20, 0}, {640, 800 << 20, 10 << 20}} {
		b.Run(fmt.Sprintf("lines=%d/max=%d", c.lines, c.max), func(b *testing.B) {
			lines, total := c.lines, c.total
			var hob, cat cost
			for b.Loop() {
				hob.add(throughLog(b, total, lines, c.max))
				cat.add(throughCat(b, total, lines))
			}
			bytes := float64(total) * float64(b.N)
			b.ReportMetric(bytes/hob.wall.Seconds()/1e6, "hob-MB/s")
			b.ReportMetric(bytes/cat.wall.Seconds()/1e6, "cat-MB/s")
			b.ReportMetric(cat.wall.Seconds()/hob.wall.Seconds(), "hob/cat")
			b.ReportMetric((cat.wall+cat.rm).Seconds()/hob.wall.Seconds(), "hob/cat+rm")
			b.ReportMetric(hob.cpu.Seconds()/bytes*1e9, "hob-cpu-s/GB")
			b.ReportMetric(cat.cpu.Seconds()/bytes*1e9, "cat-cpu-s/GB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type cost struct{ wall, cpu, rm time.Duration }

func (c *cost) add(d cost) { c.wall, c.cpu, c.rm = c.wall+d.wall, c.cpu+d.cpu, c.rm+d.rm }

func throughLog(b *testing.B, total, lines int, max int64) cost {
	o := place(b)
	o.Max, o.Keep = max, 3
	w := open(b, o)
	service := helper(b, "emit", total, lines)
	service.Stdout = output(b, w)
	begin, cpu := time.Now(), ownCPU(b)
	require.NoError(b, service.Run())
	require.NoError(b, w.Drain(b.Context()))
	c := cost{wall: time.Since(begin), cpu: ownCPU(b) - cpu}
	end, full := w.Position(), (max+99)/100*100
	require.EqualValues(b, total, int64(end.Segment-1)*full+end.Offset)
	require.Zero(b, w.Lost())
	require.NoError(b, w.Close())
	require.NoError(b, os.RemoveAll(o.Dir))
	return c
}

func throughCat(b *testing.B, total, lines int) cost {
	path := filepath.Join(b.TempDir(), "out")
	file, err := os.Create(path)
	require.NoError(b, err)
	r, w, err := os.Pipe()
	require.NoError(b, err)
	cat := exec.CommandContext(b.Context(), "cat")
	cat.Stdin, cat.Stdout = r, file
	service := helper(b, "emit", total, lines)
	service.Stdout = w
	require.NoError(b, cat.Start())
	begin := time.Now()
	require.NoError(b, service.Run())
	w.Close()
	require.NoError(b, cat.Wait())
	c := cost{wall: time.Since(begin), cpu: cat.ProcessState.SystemTime() + cat.ProcessState.UserTime()}
	r.Close()
	file.Close()
	begin = time.Now()
	require.NoError(b, os.Remove(path))
	c.rm = time.Since(begin)
	return c
}

func ownCPU(b *testing.B) time.Duration {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
