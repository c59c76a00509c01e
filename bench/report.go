package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// report is what is printed, and kept for docs/performance.md.
type report struct {
	out    io.Writer
	text   bytes.Buffer
	met    int
	missed []string
}

func newReport() *report { return &report{out: os.Stdout} }

// printf writes lines without spaces at their ends.
func (r *report) printf(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		text, newline := strings.CutSuffix(line, "\n")
		text = strings.TrimRight(text, " ")
		if newline {
			text += "\n"
		}
		fmt.Fprint(io.MultiWriter(r.out, &r.text), text)
	}
}

// aim is what the ratio of a line is to be at most; nil: nothing is asked of it. What is measured is always a time, so that a
// throughput is aimed at as its reciprocal.
type aim struct {
	times float64
	plus  time.Duration
}

func times(most float64) *aim { return &aim{times: most} }

// header is the line above samples.
func (r *report) header(title string) {
	r.printf("\n%-40s %9s %9s %9s  %7s  %s\n", title, "min", "median", "max", "ratio", "aim")
}

// line is one side of a comparison which is measured against nobody.
func (r *report) line(name string, s sample) { r.row(name, s, "", "") }

// compare is the other side, and how many times the floor it is, of medians.
func (r *report) compare(name string, s, floor sample, a *aim) {
	verdict := ""
	if a != nil {
		most := time.Duration(a.times*float64(floor.median())) + a.plus
		text := fmt.Sprintf("≤ %v", a.times)
		if a.plus > 0 {
			text += fmt.Sprintf(" × + %v", a.plus)
		}
		verdict = r.judge(name, text, s.median().Seconds(), most.Seconds())
	}
	r.row(name, s, ratio(s.median(), floor.median()), verdict)
}

func (r *report) row(name string, s sample, ratio, verdict string) {
	r.printf("%-40s %9v %9v %9v  %7s  %s\n", name, round(slices.Min(s)), round(s.median()), round(slices.Max(s)), ratio, verdict)
}

func ratio(ours, floor time.Duration) string {
	return fmt.Sprintf("%.2f", ours.Seconds()/floor.Seconds())
}

// judge says whether a figure is as small as it is to be, and counts it.
func (r *report) judge(figure, aim string, got, most float64) string {
	if got <= most {
		r.met++
		return aim + ": met"
	}
	by := "missed"
	if most > 0 {
		by = fmt.Sprintf("missed by %.0f %%", max(1, (got/most-1)*100))
	}
	r.missed = append(r.missed, strings.Join(strings.Fields(figure), " "))
	return aim + ": " + by
}

// end sums the aims up.
func (r *report) end() {
	if all := r.met + len(r.missed); all > 0 {
		r.printf("\n%d of %d aims met", r.met, all)
		if len(r.missed) > 0 {
			r.printf("; missed: %s", strings.Join(r.missed, "; "))
		}
		r.printf("\n")
	}
}

// sample is one side of a comparison.
type sample []time.Duration

func (s sample) median() time.Duration {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

// round keeps about three figures.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
