package upgrade

import "os"

// noteOf gives a file without a name that holds data.
func noteOf(data []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "hob-upgrade-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
