#!/bin/sh
# Shows hob at work: a small web server becomes a service of a project, is asked over HTTP, and is
# stopped with everything else; then two come from a file, and go on when hobd is killed. All of it
# happens in a temporary directory, which is removed, and with a HOME of its own. Exits with 1 when
# anything is not as it should be.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n# %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# show prints a command, as it would be typed, and runs it.
show() {
  line='$'
  for word; do
    case $word in
    *[!A-Za-z0-9_./:=@+-]* | '') word="'$word'" ;;
    esac
    line="$line $word"
  done
  printf '%s\n' "$line"
  "$@"
}

# alive tells whether a process runs. One that has ended stays a zombie until its parent, which can
# be a slow init, has noticed; kill -0 would take it for alive.
alive() {
  if [ -r "/proc/$1/stat" ]; then
    ! grep -q ') [ZX] ' "/proc/$1/stat" 2>/dev/null
  else
    kill -0 "$1" 2>/dev/null
  fi
}

# number reads "key":N from a document on stdin, the first one.
number() { grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d : -f 2; }

# pid_of prints the pid of a service.
pid_of() { hob ps "$1" --json | grep -o '"services":.*' | number pid; }

# gone waits until none of the processes is left.
gone() {
  left=100
  for pid; do
    while alive "$pid"; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || die "pid $pid is still there"
      sleep 0.1
    done
  done
}

work=$(mktemp -d)
work=$(cd "$work" && pwd -P)
web= api= hobd=
finish() {
  code=$?
  trap - EXIT
  # Only once HOME is ours: this must never reach a project of the caller's.
  for project in shop forum; do
    [ "$HOME" != "$work/home" ] || [ ! -d "$HOME/$project" ] || hob -q -C "$HOME/$project" down || true
  done
  for pid in $web $api $hobd; do
    ! alive "$pid" || kill -KILL "$pid" 2>/dev/null || true
  done
  cd /
  rm -rf "$work"
  [ "$code" = 0 ] || echo "demo: it did not work" >&2
  exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "Build hob, its daemon hobd, and a small web server."
CGO_ENABLED=0
export CGO_ENABLED
show go build -o "$work/bin/" ./cmd/client/hob ./cmd/daemon/hobd ./examples/httpd

# From here on nothing of the caller's own hob plays a part.
unset XDG_STATE_HOME HOB_STATE_DIR HOB_PROJECT HOB_DAEMON HOB_NO_SPAWN PORT
mkdir -p "$work/home/shop/.git"
HOME=$work/home PATH=$work/bin:$PATH
export HOME PATH
cd "$HOME/shop"

say "Run the server as a service called web. The first call starts hobd by itself."
show hob run web -- httpd
web=$(pid_of web)
hobd=$(hob daemon status --json | number pid)
[ -n "$web" ] && alive "$web" || die "no process of web runs"
[ -n "$hobd" ] && alive "$hobd" || die "hobd does not run"

say "Wait until its log says that it listens."
show hob wait web --for 'log:listening on' --timeout 30s
url=$(hob logs web | sed -n 's/^listening on //p')
[ -n "$url" ] || die "the log has no address"

say "It answers."
if command -v curl >/dev/null 2>&1; then
  answer=$(show curl -sS --noproxy '*' "$url/hello")
else
  answer=$(show httpd -get "$url/hello")
fi
printf '%s\n' "$answer"
case $answer in
*"pid $web, request 1"*) ;;
*) die "expected an answer of pid $web" ;;
esac

say "What runs in this project, and what it wrote."
show hob ps
show hob logs -t web
hob ps | grep -q "^web  *running  *$web " || die "ps does not show web"
hob logs web | grep -q 'GET /hello' || die "the request is not in the log"

say "The same command again changes nothing: there is one web, ever."
again=$(show hob run web -- httpd 2>&1)
printf '%s\n' "$again"
case $again in
*"already running (pid $web)"*) ;;
*) die "the second run was not a no-op" ;;
esac

say "Stop everything. Nothing is left."
show hob down
gone "$web" "$hobd"
web= hobd=
if show hob daemon status; then die "daemon status says that it runs"; fi

say "Another project says in a file what it needs. Each service is started when what it needs is ready."
mkdir "$HOME/forum"
cd "$HOME/forum"
cat >hob.toml <<'TOML'
[services.api]
run   = "httpd"
ready = { log = "^listening on " }

[services.web]
run   = "httpd"
needs = ["api"]
ready = { log = "^listening on " }
TOML
show cat hob.toml
show hob check
show hob up
show hob ps
api=$(pid_of api) web=$(pid_of web) hobd=$(hob daemon status --json | number pid)
[ -n "$api" ] && alive "$api" || die "no process of api runs"
[ -n "$web" ] && alive "$web" || die "no process of web runs"
[ -n "$hobd" ] && alive "$hobd" || die "hobd does not run"

say "hobd is killed. The services run on, and another hobd takes them over."
show kill -KILL "$hobd"
gone "$hobd"
show hob ps
[ "$(pid_of api) $(pid_of web)" = "$api $web" ] || die "ps shows other processes than $api and $web"
alive "$api" && alive "$web" || die "pid $api or $web has not lived on"
left=100
until next=$(hob daemon status --json | number pid) && [ -n "$next" ] && [ "$next" != "$hobd" ]; do
  left=$((left - 1))
  [ "$left" -gt 0 ] || die "there is no other hobd"
  sleep 0.1
done
hobd=$next

say "Stop these, too. Nothing is left."
show hob down
gone "$api" "$web" "$hobd"
api= web= hobd=

say "That was all. The directory is removed."
