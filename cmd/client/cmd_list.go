package client

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/store"
)

func (a *app) cmdList() *cobra.Command {
	c := a.verb("list", "List every project of yours that has or had a daemon", none(a.list))
	c.Aliases = []string{"ls"}
	return c
}

// known is an instance of which there is a directory.
type known struct {
	inst instance.Instance
	meta meta
	gone bool // the project's directory is not there any more
}

// meta is what the daemon wrote of itself.
type meta struct {
	Project   string    `json:"project"`
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	Pid       int       `json:"pid"`
	Build     string    `json:"build"`
	Protocol  int       `json:"protocol"`
	StartedAt time.Time `json:"started_at"`
}

// maxMeta is far above what a daemon writes.
const maxMeta = 64 << 10

// instances finds those of this user, by project. Those that never got as far as to say whose
// they are are left out.
func instances() ([]known, error) {
	_, ids, err := instance.All()
	if err != nil {
		return nil, err
	}
	var all []known
	for _, id := range ids {
		inst, err := instance.ByID(id)
		if err != nil {
			continue
		}
		m, err := readMeta(inst)
		if err != nil || m.ID != id || m.Project == "" {
			continue
		}
		k := known{inst: inst, meta: m}
		if _, err := os.Stat(m.Project); absent(err) {
			k.gone = inst.Is(m.Project, m.Name) // else nobody knows where it is
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b known) int {
		return strings.Compare(a.meta.Project+"\x00"+a.meta.Name, b.meta.Project+"\x00"+b.meta.Name)
	})
	return all, nil
}

func readMeta(inst instance.Instance) (m meta, err error) {
	state, err := inst.OpenState(false)
	if err != nil {
		return m, err
	}
	defer state.Close()
	dir, err := inst.OpenDir(state, false)
	if err != nil {
		return m, err
	}
	defer dir.Close()
	data, err := instance.ReadFile(dir, instance.MetaName, maxMeta)
	if err != nil {
		return m, err
	}
	return decodeMeta(data)
}

func decodeMeta(data []byte) (m meta, err error) {
	err = json.Unmarshal(data, &m)
	return m, err
}

// glance is how long a daemon has to answer when it is only one of many that are looked at.
const glance = 3 * time.Second

// describe looks who is there.
func (k known) describe(ctx context.Context) api.Instance {
	out := api.Instance{Name: k.meta.Name, Daemon: api.Daemon{State: "stale", ID: k.inst.ID, Project: k.meta.Project,
		Socket: k.inst.Path(instance.SocketName), Lock: k.inst.LockPath(), Log: k.inst.Path(instance.DaemonLog)}}
	if services, err := store.Read(k.inst); err == nil {
		out.Services = len(services)
	}
	if k.gone {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	s, _ := hob.Probe(ctx, hob.Instance{Name: k.meta.Name, Dir: k.meta.Project})
	if s.ID == k.inst.ID {
		out.Daemon = *newDaemon(s)
	}
	return out
}

func (a *app) list(ctx context.Context) error {
	all, err := instances()
	if err != nil {
		return err
	}
	out := make([]api.Instance, len(all))
	var wg sync.WaitGroup
	for i, k := range all {
		wg.Go(func() { out[i] = k.describe(ctx) })
	}
	wg.Wait()
	if a.json {
		return a.print(api.ListDocument{V: api.V, Instances: out})
	}
	if len(out) == 0 {
		a.say("no instances")
		return nil
	}
	t := &table{color: a.colored()}
	t.row("PROJECT", "NAME", "STATE", "PID", "SERVICES", "AGE")
	for i, inst := range out {
		state, age := cell{inst.State, stateStyle(inst.State)}, ""
		if all[i].gone {
			state = cell{"project is gone", dim}
		}
		if inst.StartedAt != nil {
			age = span(time.Since(*inst.StartedAt))
		}
		t.cells(cell{text: inst.Project}, cell{text: inst.Name}, state, cell{text: number(inst.Pid)},
			cell{text: strconv.Itoa(inst.Services)}, cell{text: age})
	}
	return t.write(a.stdout)
}
