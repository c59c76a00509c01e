package client

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) cmdCompletion() *cobra.Command {
	c := a.verb("completion bash|zsh|fish", "Print the completion script of a shell", nil)
	c.Example = `  source <(hob completion bash)
  hob completion zsh > "${fpath[1]}/_hob"
  hob completion fish > ~/.config/fish/completions/hob.fish`
	c.ValidArgs, c.ValidArgsFunction = []cobra.Completion{"bash", "zsh", "fish"}, nil
	c.RunE = a.verb("", "", func(_ context.Context, args []string) error {
		if len(args) == 1 {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return c.Root().GenZshCompletion(a.stdout)
			case "fish":
				return c.Root().GenFishCompletion(a.stdout, true)
			}
		}
		return usage("hob completion bash, zsh or fish", "completion: for which shell?")
	}).RunE
	return c
}

// nothing completes no argument, not even with names of files.
func nothing(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// serviceNames completes names of services, from disk: completing starts nothing.
func (a *app) serviceNames(_ *cobra.Command, typed []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	_, disk, err := a.disk()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
next:
	for _, st := range disk {
		for _, t := range typed {
			if t == st.Name {
				continue next
			}
		}
		names = append(names, cobra.CompletionWithDesc(st.Name, string(st.State)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
