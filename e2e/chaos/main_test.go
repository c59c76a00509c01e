//go:build linux

package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// roleVar names what this binary is instead of a test.
const roleVar = "HOB_CHAOS_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		os.Exit(m.Run())
	case "init":
		os.Exit(initMain())
	case "harness":
		os.Exit(harnessMain())
	case "writer":
		os.Exit(writerMain(os.Args[1:]))
	default:
		fmt.Fprintln(os.Stderr, "no such role")
		os.Exit(99)
	}
}

// config is what a run of the harness is told, as JSON in configVar.
type config struct {
	Duration time.Duration // of the faults
	Patience time.Duration // what a client may take at most, and a heal
	Seed     uint64
	Base     string   // an empty directory
	Bin      string   // hob, hobd and hobd-next
	Only     []string // kinds of projects; none: all
	Stop     bool     // at the first violation
	Few      bool     // two projects of each kind at most
	Private  bool     // it runs in pid and mount namespaces of its own
}

const configVar = "HOB_CHAOS_CONFIG"

func (c config) env() (string, error) {
	text, err := json.Marshal(c)
	return configVar + "=" + string(text), err
}

func readConfig() (c config, err error) {
	return c, json.Unmarshal([]byte(os.Getenv(configVar)), &c)
}

// build makes the programs in dir: as they are released, or with tags.
func build(dir, tags string) error {
	const hob, hobd = "github.com/hobworks/hob/cmd/client/hob", "github.com/hobworks/hob/cmd/daemon/hobd"
	cmd := exec.Command("go", "build", "-tags", tags, "-o", dir+"/", hob, hobd)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	// An upgrade is to another file.
	err := os.Link(filepath.Join(dir, "hobd"), filepath.Join(dir, "hobd-next"))
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
