package servicelog

// A Joiner puts the parts of a line together again, for who looks for something in lines: a
// prompt is a part of one, and so are the first 64 KiB. The zero value is ready to use.
type Joiner struct {
	text []byte
	open bool // the last line was a part
}

// Add returns the text of the line that line ends or goes on with, as far as it is known, or its
// last 256 KiB. It is valid until the next call.
func (j *Joiner) Add(line Line) []byte {
	whole := line.Text
	if j.open || line.Partial {
		if !j.open {
			j.text = j.text[:0]
		}
		j.text = append(j.text, line.Text...)
		j.text = j.text[max(0, len(j.text)-4*maxLine):]
		whole = j.text
	}
	j.open = line.Partial
	return whole
}
