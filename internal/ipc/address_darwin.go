package ipc

import "strings"

// maxPath is sun_path (104 bytes, unix(4)) less the NUL.
const maxPath = 103

// addressByFd has no descriptor to go through: there is no /proc.
func addressByFd(_ int, path, _ string) (string, error) {
	if len(path) > maxPath {
		return "", errTooLong(path, "")
	}
	if strings.HasPrefix(path, "@") {
		path = "./" + path
	}
	return path, nil
}
