package readiness

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	tryTimeout = 5 * time.Second // for one connection or answer
	maxStatus  = 4 << 10         // bytes of a status line
)

// get asks for a URL once. It is ready with 200 to 399. The host and port that it asked come back, too. Only the status line is
// read, and no redirect is followed, so that all of HTTP is not needed for it (docs/adr/0009).
func get(ctx context.Context, rawURL string) (address string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", err
	}
	address = hostPort(u)
	conn, err := connect(ctx, address)
	if err != nil {
		return address, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(tryTimeout)); err != nil {
		return address, err
	}
	if _, err := io.WriteString(conn, request(u)); err != nil {
		return address, fmt.Errorf("GET %s: it hung up", u.Redacted())
	}
	code, err := statusCode(conn)
	switch {
	case err != nil:
		return address, fmt.Errorf("GET %s: %w", u.Redacted(), err)
	case code < 200 || code > 399:
		return address, fmt.Errorf("GET %s answered %d", u.Redacted(), code)
	}
	return address, nil
}

// hostPort is where a URL leads.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// request is HTTP/1.1 in its shortest form (RFC 9112, 3).
func request(u *url.URL) string {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: hob\r\nAccept: */*\r\nConnection: close\r\n", u.RequestURI(), u.Host)
	if u.User != nil {
		password, _ := u.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		fmt.Fprintf(&b, "Authorization: Basic %s\r\n", login)
	}
	b.WriteString("\r\n")
	return b.String()
}

var errNotHTTP = fmt.Errorf("it answered something that is not HTTP")

// statusCode reads "HTTP/1.1 200 OK". Answers before the last one (100–199) are for those who upgrade or send, and nobody
// here does.
func statusCode(r io.Reader) (int, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxStatus)).ReadString('\n')
	if err != nil && line == "" {
		return 0, fmt.Errorf("it did not answer")
	}
	version, rest, _ := strings.Cut(line, " ")
	if len(rest) < 3 || !strings.HasPrefix(version, "HTTP/1.") {
		return 0, errNotHTTP
	}
	code, err := strconv.Atoi(rest[:3])
	if err != nil || code < 100 || code > 599 {
		return 0, errNotHTTP
	}
	return code, nil
}
