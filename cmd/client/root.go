package client

import (
	"github.com/spf13/cobra"
)

// verbs are the commands by name. Only the one that is called is made: the others would cost
// time at every start.
var verbs = []struct {
	name string
	make func(*app) *cobra.Command
}{
	{"up", (*app).cmdUp}, {"run", (*app).cmdRun}, {"ps", (*app).cmdPs}, {"logs", (*app).cmdLogs}, {"start", (*app).cmdStart},
	{"stop", (*app).cmdStop}, {"restart", (*app).cmdRestart}, {"kill", (*app).cmdKill}, {"wait", (*app).cmdWait},
	{"rm", (*app).cmdRm}, {"down", (*app).cmdDown}, {"check", (*app).cmdCheck}, {"init", (*app).cmdInit},
	{"exec", (*app).cmdExec}, {"connect", (*app).cmdConnect}, {"sock", (*app).cmdSock}, {"hold", (*app).cmdHold},
	{"attach", (*app).cmdAttach}, {"events", (*app).cmdEvents}, {"daemon", (*app).cmdDaemon}, {"list", (*app).cmdList},
	{"prune", (*app).cmdPrune}, {"doctor", (*app).cmdDoctor}, {"version", (*app).cmdVersion},
	{"completion", (*app).cmdCompletion},
}

func (a *app) root(args []string) *cobra.Command {
	ps := a.cmdPs()
	root := &cobra.Command{
		Use: "hob", Short: "Background services for a project, each directory its own",
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
		Args: func(c *cobra.Command, args []string) error { return unknown(c, args, "") },
		RunE: ps.RunE, ValidArgsFunction: nothing,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetHelpCommand(a.cmdHelp())
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(seeHelp(c), "%v", err) })
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVarP(&a.dir, "directory", "C", "", "the project that `DIR` lies in, instead of the working directory's")
	f.BoolVar(&a.json, "json", false, "print JSON; errors, too")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this `time`: 500ms, 10s, 2m")
	f.BoolVar(&a.noSpawn, "no-spawn", false, "never start hobd")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no words about success")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "more words")
	f.StringVar(&a.color, "color", "auto", "`when` to colour: auto, always or never")
	all := len(args) == 0 || !isVerb(args[0])
	for _, v := range verbs {
		if all || v.name == args[0] {
			root.AddCommand(v.make(a))
		}
	}
	return root
}

func isVerb(name string) bool {
	for _, v := range verbs {
		if v.name == name {
			return true
		}
	}
	return false
}

// unknown refuses a word that is not a command of c, and names the one that was meant.
func unknown(c *cobra.Command, args []string, none string) error {
	if len(args) == 0 {
		if none == "" {
			return nil
		}
		return usage(none, "%s: which of its commands?", c.CommandPath())
	}
	hint := seeHelp(c)
	c.SuggestionsMinimumDistance = min(2, max(1, len(args[0])-2)) // a short word is near to anything
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean \"" + c.CommandPath() + " " + near[0] + "\"?"
	}
	return usage(hint, "unknown command %q for %q", args[0], c.CommandPath())
}

func seeHelp(c *cobra.Command) string { return "see \"" + c.CommandPath() + " --help\"" }

// cmdHelp replaces cobra's, which takes a wrong word for success.
func (a *app) cmdHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command", DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknown(c.Root(), args, "")
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
