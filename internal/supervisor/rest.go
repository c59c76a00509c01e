package supervisor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// ended notes how the run ended. The rest of its tree is left alone, and said.
func (v *svc) ended(event) {
	v.run.close()
	v.stopChecking()
	v.noteExit(v.proc.Exit())
	v.st.Why = v.st.Exit.String()
	if v.barren {
		v.st.Why += " without accepting the connection that waits"
	}
	v.st.Why += v.leftovers()
	v.sayLimit()
}

// leftovers says what of a run that has ended lives on, and lets go of the run when nothing does.
func (v *svc) leftovers() string {
	if v.proc.Alone() && v.lockIsFree() {
		v.release()
		return ""
	}
	left, err := v.proc.Tree(v.holders())
	if len(left) == 0 && err == nil {
		v.release()
		return ""
	}
	return fmt.Sprintf("; %d of its processes live on (%s)", len(left), pidList(pids(left)))
}

// restWords are those of leftovers.
var restWords = regexp.MustCompile(`; \d+ of its processes live on \([^)]*\)`)

// lookForRest is called when orphans end, which is how one hears of the end of what was left. What else is said of the service stays.
func (v *svc) lookForRest(event) {
	if v.proc == nil {
		return
	}
	if v.outlived {
		v.lookForOutlived()
		return
	}
	if v.st.Exit == nil {
		return
	}
	if rest := v.leftovers(); v.st.State != service.Waiting { // that says what for
		v.st.Why = restWords.ReplaceAllString(v.st.Why, "") + rest
	}
}

// cantStop begins the reason of a service as long as something of it lives that could not be ended.
const cantStop = "can't be stopped: "

func (v *svc) lookForOutlived() {
	p := v.proc
	if v.leftovers() != "" {
		return
	}
	v.outlived = false
	if !strings.HasPrefix(v.st.Why, cantStop) {
		return // something else has become of it
	}
	if v.st.Exit == nil {
		v.noteExit(p.Exit())
	}
	v.st.Why = v.st.Exit.String()
}

func (v *svc) noteExit(e process.Exit) {
	x := service.Exit{Code: -1, At: time.Now().UTC()}
	switch {
	case e.Signal != 0:
		x.Code, x.Signal = 128+int(e.Signal), unix.SignalName(e.Signal)
	case e.Known:
		x.Code = e.Code
	}
	x.Generation, x.StartedAt = v.st.Generation, v.st.StartedAt
	if v.out != nil {
		x.LogEnd = service.LogMark(v.out.Position())
	}
	v.st.Exit, v.st.StoppedAt = &x, x.At
	v.st.Exits = append(slices.Clone(v.st.Exits), x)
	if n := len(v.st.Exits) - service.MaxExits; n > 0 {
		v.st.Exits = v.st.Exits[n:]
	}
}

// release lets the run's process go: nothing of it is left.
func (v *svc) release() {
	v.unholdStale()
	if v.proc == nil {
		return
	}
	_ = v.proc.Release()
	v.proc = nil
	v.st.Pid, v.st.Start = 0, 0
	if v.sup.adopted.Load() { // see Supervisor.Reap
		v.sup.reaper.Reap()
	}
}
