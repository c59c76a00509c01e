package client

import (
	"io"
	"strings"
	"unicode/utf8"
)

// cell is one entry of a table.
type cell struct {
	text  string
	style style
}

// table is aligned text: columns two spaces apart, none after the last word of a line.
type table struct {
	rows  [][]cell
	color bool
}

// row adds a row of plain words.
func (t *table) row(texts ...string) {
	cells := make([]cell, len(texts))
	for i, text := range texts {
		cells[i] = cell{text: text}
	}
	t.rows = append(t.rows, cells)
}

func (t *table) cells(cells ...cell) { t.rows = append(t.rows, cells) }

// write prints the table. Control characters in a cell are left out; an empty cell is "-", but
// for the last.
func (t *table) write(w io.Writer) error {
	for _, row := range t.rows {
		for i := range row {
			if row[i].text = oneLine(row[i].text); row[i].text == "" && i < len(row)-1 {
				row[i].text = "-"
			}
		}
	}
	widths := t.widths()
	var b strings.Builder
	for _, row := range t.rows {
		last := len(row) - 1
		for last >= 0 && row[last].text == "" {
			last--
		}
		for i, c := range row[:last+1] {
			if t.color {
				b.WriteString(c.style.paint(c.text))
			} else {
				b.WriteString(c.text)
			}
			if i < last {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) widths() []int {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}
