# Shared by the scripts beside it; sourced, not run. POSIX sh.
# shellcheck shell=sh

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=$root/.cache
venv=$root/.venv

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" = 0 ]; }

# apt_lists_fresh: package lists are there and not older than a day.
apt_lists_fresh() {
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -1 2>/dev/null | head -n 1)" ]
}

# apt_install WHY PACKAGE...: install Debian packages, saying so; `die` with what to do where we cannot.
apt_install() {
    why=$1
    shift
    have apt-get || die "$why is missing; install it (on Debian: $*) and run this again"
    is_root || die "$why is missing; run as root: apt-get install --no-install-recommends $*"
    say "installing $why: $*"
    mkdir -p "$cache"
    if ! apt_lists_fresh || ! apt_quietly install -y --no-install-recommends "$@"; then
        apt_quietly update || say "some package lists could not be renewed; trying with what there is"
        apt_quietly install -y --no-install-recommends "$@" || {
            tail -n 20 "$cache/apt.log" >&2
            die "apt-get could not install $*"
        }
    fi
}

apt_quietly() { DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >"$cache/apt.log" 2>&1 </dev/null; }
