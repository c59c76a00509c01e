package config

import (
	"net"
	neturl "net/url"
	"strconv"
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// hostPort is host:port.
type hostPort struct {
	set
	v string
}

func (v *hostPort) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if text, ok := d.addr(n, s); ok && d.hostPort(n, s, text) {
		v.v = text
	}
}

// addr reads a string; a number can only have been meant as a port.
func (d *decoding) addr(n *node, s scope) (string, bool) {
	if n.kind == integerKind {
		d.errorf(n, s, `expected a string like "127.0.0.1:5432", not an integer%s`, didYouMean("127.0.0.1:"+n.text))
		return "", false
	}
	return d.str(n, s, `"127.0.0.1:5432"`)
}

func (d *decoding) hostPort(n *node, s scope, text string) bool {
	host, port, err := net.SplitHostPort(text)
	p, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case strings.Trim(text, "0123456789") == "" && text != "":
		d.errorf(n, s, "%s has no host%s", quoted(text), didYouMean("127.0.0.1:"+text))
	case err != nil || strings.ContainsAny(host, "/?#@ \t\r\n") || !printable(host):
		d.errorf(n, s, "%s is not host:port like \"127.0.0.1:5432\"", quoted(text))
	case perr != nil || p == 0:
		d.errorf(n, s, "%s: the port is not a number from 1 to 65535", quoted(text))
	case host == "":
		d.errorf(n, s, "%s has no host%s", quoted(text), didYouMean("127.0.0.1"+text))
	default:
		return true
	}
	return false
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// address is host:port or unix:PATH.
type address struct {
	set
	v service.Address
}

func (v *address) read(d *decoding, n *node, s scope) {
	v.begin(n)
	text, ok := d.addr(n, s)
	if !ok {
		return
	}
	if path, unix := strings.CutPrefix(text, "unix:"); unix {
		if d.path(n, s, path) {
			v.v = service.Address{Network: "unix", Addr: path}
		}
		return
	}
	if strings.Contains(text, "/") {
		meant := ""
		if !strings.Contains(text, "://") {
			meant = "unix:" + text
		}
		d.errorf(n, s, "%s is not \"host:port\" or \"unix:PATH\"%s", quoted(text), didYouMean(meant))
		return
	}
	if d.hostPort(n, s, text) {
		v.v = service.Address{Network: "tcp", Addr: text}
	}
}

// read takes the address alone as well.
func (v *listenTable) read(d *decoding, n *node, s scope) {
	switch n.kind {
	case tableKind:
		d.table(n, s, v)
	case stringKind, integerKind:
		v.begin(n)
		v.Addr.read(d, n, s)
	default:
		d.expected(n, s, "an address", `"127.0.0.1:8080" or { addr = "127.0.0.1:8080", proxy = true }`)
	}
}

// url is one that can be asked without encryption.
type url struct {
	set
	v string
}

func (v *url) read(d *decoding, n *node, s scope) {
	v.begin(n)
	text, ok := d.str(n, s, `"http://127.0.0.1:8080/"`)
	if !ok {
		return
	}
	u, err := neturl.Parse(text)
	switch {
	case err != nil || !printable(text) || strings.ContainsAny(text, " "):
		d.errorf(n, s, "%s is not a URL like \"http://127.0.0.1:8080/\"", quoted(text))
	case strings.EqualFold(u.Scheme, "https"):
		d.hintf(n, s, `use exec = "curl -fsS `+cut(text)+`"`, "%s: only http:// is asked, not https://", quoted(text))
	case !strings.EqualFold(u.Scheme, "http") || u.Opaque != "":
		d.errorf(n, s, "%s does not begin with http://%s", quoted(text), didYouMean(withScheme(text)))
	case u.Hostname() == "":
		d.errorf(n, s, "%s has no host", quoted(text))
	case !goodPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		d.errorf(n, s, "%s: the port is not a number from 1 to 65535", quoted(text))
	default:
		v.v = text
	}
}

// withScheme guesses at what lacks one.
func withScheme(text string) string {
	if strings.Contains(text, "://") || strings.HasPrefix(text, "/") {
		return ""
	}
	return "http://" + text
}

func goodPort(p string) bool {
	n, err := strconv.ParseUint(p, 10, 16)
	return p == "" || err == nil && n > 0
}
