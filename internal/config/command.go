package config

// command is what to execute: a text for the shell, or an array without one.
type command struct {
	set
	v      []string
	simple bool // the shell does nothing but to execute it, or there is none
}

func (v *command) read(d *decoding, n *node, s scope) {
	v.begin(n)
	switch n.kind {
	case stringKind:
		if d.noNUL(n, s) {
			v.shell(d, n, s)
		}
	case arrayKind:
		list, ok := d.strs(n, s, `["npm", "run", "dev"]`, nil)
		switch {
		case !ok:
		case len(list) == 0 || list[0] == "":
			d.errorf(n, s, "no command")
		default:
			v.v, v.simple = list, true
		}
	default:
		d.expected(n, s, "a string or an array of strings", `"npm run dev" or ["npm", "run", "dev"]`)
	}
}

func (v *command) shell(d *decoding, n *node, s scope) {
	if v.v, v.simple = shellCommand(n.text); v.v == nil {
		d.errorf(n, s, "no command")
	}
}
