package client

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob/internal/api"
)

func (a *app) cmdDoctor() *cobra.Command {
	return a.verb("doctor", "Check every fact about this project's instance, and say what to do", none(a.doctor))
}

func (a *app) doctor(ctx context.Context) error {
	facts, err := a.facts(ctx)
	if err != nil {
		return err
	}
	ok := true
	for _, f := range facts {
		ok = ok && f.OK
	}
	if a.json {
		err = a.print(api.DoctorDocument{V: api.V, OK: ok, Facts: facts})
	} else {
		err = a.factTable(facts).write(a.stdout)
	}
	if err == nil && !ok {
		return status(exitFailed)
	}
	return err
}

func (a *app) factTable(facts []api.Fact) *table {
	t := &table{color: a.colored()}
	for _, f := range facts {
		mark := cell{"ok", green}
		if !f.OK {
			mark = cell{"!!", red}
		}
		t.cells(mark, cell{text: f.Name}, cell{text: f.Value})
		if f.Hint != "" {
			t.cells(cell{text: " "}, cell{text: " "}, cell{text: "→ " + f.Hint, style: yellow})
		}
	}
	return t
}
