# Sourced by the other scripts: a virtual environment in .venv with notrack and what it needs.
# Usage: extras=dev; . scripts/setup.sh   (a sourced file of POSIX sh takes no arguments)
set -eu

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else
        echo "needs root for: $*" >&2
        return 1
    fi
}

# need PACKAGE PROGRAM [PACKAGE PROGRAM ...]: install the packages whose programs are missing.
need() {
    missing=
    while [ $# -gt 0 ]; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$2" >/dev/null 2>&1 || missing="$missing $1"
        shift 2
    done
    [ -z "$missing" ] && return 0
    echo "installing:$missing" >&2
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of package names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# A fresh Debian has python3 without the part that makes virtual environments.
need python3 python3
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
fi
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${extras:+[$extras]}"
