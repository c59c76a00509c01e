package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// redis is where a Redis is.
type redis struct {
	socket string
}

// do runs a command whose reply is one line, a word or a number, and gives that (RESP, https://redis.io/docs/latest/develop/reference/protocol-spec).
func (r redis) do(command ...string) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("redis: %s: %w", command[0], err) }
	conn, err := net.DialTimeout("unix", r.socket, patience)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return fail(err)
	}
	request := fmt.Sprintf("*%d\r\n", len(command))
	for _, word := range command {
		request += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		return fail(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fail(err)
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case strings.HasPrefix(line, "+"), strings.HasPrefix(line, ":"):
		return line[1:], nil
	case strings.HasPrefix(line, "-"):
		return fail(fmt.Errorf("%s", line[1:]))
	}
	return fail(fmt.Errorf("a reply of another kind: %q", line))
}
