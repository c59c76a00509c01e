package client

import (
	"context"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/version"
)

// upgradeDocument tells what hobd was, too.
type upgradeDocument struct {
	V      int         `json:"v"`
	From   string      `json:"from"`
	Daemon *api.Daemon `json:"daemon"`
}

// daemonUpgrade has hobd become another program: services, connections and the pid stay.
func (a *app) daemonUpgrade(ctx context.Context) error {
	if a.noSpawn {
		return usage("", "daemon upgrade: --no-spawn forbids it")
	}
	c, err := a.contact(ctx)
	if isCode(err, api.CodeNotRunning) {
		a.say("hobd is not running: the next one is %s", version.String())
		if !a.json {
			return nil
		}
		return a.print(upgradeDocument{V: api.V, Daemon: a.noDaemon(err)})
	}
	if err != nil {
		return err
	}
	defer c.Close()
	program := daemonProgram()
	a.note("hobd for the upgrade: %s", program)
	from, err := c.Upgrade(ctx, program, version.String())
	if isCode(err, "retired") { // one from before there were upgrades
		return a.daemonStart(ctx)
	}
	if err != nil {
		return err
	}
	d := a.daemonOf(ctx, c)
	a.say("hobd: upgraded from %s to %s (pid %d)", from, d.Version, d.Pid)
	return a.show(upgradeDocument{api.V, from, d})
}

// remark tells, once, that hobd is another build which is neither older nor newer: nothing replaces that by itself.
func (a *app) remark(c *hob.Client) {
	theirs, ours := c.Welcome().Version, version.String()
	order, ok := version.Compare(theirs, ours)
	if theirs == ours || ok && order != 0 || !a.remarked.CompareAndSwap(false, true) {
		return
	}
	a.say("hob is %s and hobd %s; \"hob daemon upgrade\" makes them one", ours, theirs)
}
