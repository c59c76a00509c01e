package config

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Init gives the text of a first hob.toml for the project whose root is the directory root, and the name of the
// file that it was made from: Procfile, package.json, or "" for a commented example. It writes nothing, and what it gives can be
// loaded. A Procfile that can't be read is *Errors.
func Init(root string) (content []byte, from string, err error) {
	l := &loader{root: root, project: &Project{Root: root}, envs: map[string]*envFile{}}
	if f := l.open(ProcfileName, mustBeOurs); f.exists() {
		lines, env := l.procLines(f), l.dotenv()
		if err := l.problems.err(); err != nil {
			return nil, "", err
		}
		return fromProcfile(lines, slices.Contains(l.project.Files, l.below(dotenvName)), setsPort(env)), ProcfileName, nil
	}
	if text := l.fromPackage(); text != nil {
		return text, packageName, nil
	}
	return []byte(firstFile), "", nil
}

const initHead = "# The services of this project. hob check shows what will be done, hob up starts them.\n"

const firstFile = initHead + `# Every key: docs/config.md of hob. What is for this machine alone goes into hob.local.toml.

# [services.db]
# run   = "postgres -D .pg"
# ready = { tcp = "127.0.0.1:5432" }    # or log, http, exec, notify, fd
# stop  = { signal = "INT" }

# [services.web]
# run   = ["npm", "run", "dev"]         # an array is executed as it is, a string by sh
# needs = ["db"]                        # db is ready first
# env   = { DATABASE_URL = "postgres://localhost/app" }
# ready = { http = "http://127.0.0.1:3000/" }
`

// fromProcfile writes a service for each process. What a Procfile does by itself is written out.
func fromProcfile(lines []procLine, dotenv, port bool) []byte {
	var b strings.Builder
	b.WriteString(initHead)
	b.WriteString("# Made from Procfile, which is not read any more.\n")
	for i, p := range lines {
		fmt.Fprintf(&b, "\n[services.%s]\nrun     = %s\nrestart = \"no\" # or \"on-failure\", \"always\"\n", keyText(p.name), tomlString(p.command))
		if dotenv {
			fmt.Fprintf(&b, "env_file = %q\n", dotenvName)
		}
		if !port {
			fmt.Fprintf(&b, "env     = { PORT = %d }\n", 5100+i)
		}
	}
	return []byte(b.String())
}

// tomlString writes s as TOML, between ' where that is easier to read.
func tomlString(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
	if plain && strings.ContainsAny(s, `"\`) && !strings.Contains(s, "'") {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

const packageName = "package.json"

// serving are scripts that stay, the likeliest first.
var serving = []string{"dev", "start", "serve", "watch"}

// fromPackage writes a service for the script of package.json that most likely serves; nil when there is none.
func (l *loader) fromPackage() []byte {
	data, err := readFile(l.below(packageName), anybodys)
	var pack struct {
		PackageManager string            `json:"packageManager"`
		Scripts        map[string]string `json:"scripts"`
	}
	if err != nil || json.Unmarshal(data, &pack) != nil {
		return nil
	}
	var have []string
	for _, name := range serving {
		if pack.Scripts[name] != "" {
			have = append(have, name)
		}
	}
	if len(have) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(initHead)
	fmt.Fprintf(&b, "# Made from the scripts of %s.\n", packageName)
	for i, name := range have {
		comment := ""
		if i > 0 {
			comment = "# "
		}
		fmt.Fprintf(&b, "\n%s[services.%s]\n%srun   = [%q, \"run\", %q]\n", comment, name, comment, l.packageManager(pack.PackageManager), name)
		if i == 0 {
			b.WriteString("# ready = { tcp = \"127.0.0.1:3000\" } # or log, http, exec, notify, fd\n")
		}
	}
	return []byte(b.String())
}

// packageManager gives the program that runs scripts: what package.json says, else whose lock file there is.
func (l *loader) packageManager(said string) string {
	said, _, _ = strings.Cut(said, "@")
	if slices.Contains([]string{"npm", "pnpm", "yarn", "bun"}, said) {
		return said
	}
	for _, m := range []struct{ file, program string }{
		{"pnpm-lock.yaml", "pnpm"}, {"yarn.lock", "yarn"}, {"bun.lock", "bun"}, {"bun.lockb", "bun"},
	} {
		if _, err := os.Lstat(l.below(m.file)); err == nil {
			return m.program
		}
	}
	return "npm"
}
