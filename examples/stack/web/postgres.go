package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// postgres is where a PostgreSQL is that trusts whoever reaches its socket.
type postgres struct {
	socket, user, database string
}

// query runs one statement and gives the first value of its last row, "" if it has none. It speaks protocol 3.0
// (https://www.postgresql.org/docs/current/protocol.html): each message is a letter, a length that counts itself, and a body; only
// the first has no letter.
func (p postgres) query(sql string) (value string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("postgres: %w", err)
		}
	}()
	conn, err := net.DialTimeout("unix", p.socket, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	const version = "\x00\x03\x00\x00"
	hello := message(0, version+"user\x00"+p.user+"\x00database\x00"+p.database+"\x00\x00")
	if _, err := conn.Write(hello); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	if _, err := untilReady(r); err != nil {
		return "", err
	}
	if _, err := conn.Write(message('Q', sql+"\x00")); err != nil {
		return "", err
	}
	if value, err = untilReady(r); err != nil {
		return "", err
	}
	_, err = conn.Write(message('X', ""))
	return value, err
}

func message(kind byte, body string) []byte {
	var m []byte
	if kind != 0 {
		m = append(m, kind)
	}
	m = binary.BigEndian.AppendUint32(m, uint32(4+len(body)))
	return append(m, body...)
}

// untilReady reads until the server waits for the next query. Its error is that of the server, if it sent one.
func untilReady(r io.Reader) (value string, err error) {
	for {
		kind, body, failed := receive(r)
		if failed != nil {
			return "", errors.Join(err, failed)
		}
		switch kind {
		case 'R': // 0: come in; anything else asks for a password
			if len(body) < 4 || binary.BigEndian.Uint32(body) != 0 {
				return "", errors.New("it wants to know more than a name")
			}
		case 'D':
			value = firstColumn(body)
		case 'E':
			err = errors.New(errorText(body))
		case 'Z':
			return value, err
		}
	}
}

const maxMessage = 1 << 20

func receive(r io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n < 4 || n > maxMessage {
		return 0, nil, fmt.Errorf("a message of %d bytes", n)
	}
	body = make([]byte, n-4)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}

// firstColumn takes a row apart: how many columns, then each with its length, which is -1 for NULL.
func firstColumn(row []byte) string {
	if len(row) < 6 {
		return ""
	}
	n, rest := int32(binary.BigEndian.Uint32(row[2:])), row[6:]
	if n < 0 || int(n) > len(rest) {
		return ""
	}
	return string(rest[:n])
}

// errorText is the field M of an error: fields are a letter and a text that ends with a zero.
func errorText(fields []byte) string {
	for field := range bytes.SplitSeq(fields, []byte{0}) {
		if len(field) > 0 && field[0] == 'M' {
			return string(field[1:])
		}
	}
	return "an error without a text"
}
