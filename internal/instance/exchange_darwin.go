package instance

import "golang.org/x/sys/unix"

// exchange swaps two names in a directory, renamex_np(2).
func exchange(dir int, a, b string) error {
	return unix.RenameatxNp(dir, a, dir, b, unix.RENAME_SWAP)
}
