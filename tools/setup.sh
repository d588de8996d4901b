#!/bin/sh
# Makes the virtual environment $1 with the first Python that fits and can make one, and installs Waggle.
set -eu
venv=$1
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))'
chosen=""
seen=""
for candidate in python3.12 python3.11 python3; do
    if "$candidate" -c "$fits" 2>/dev/null; then
        seen=$candidate
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            chosen=$candidate
            break
        fi
    fi
done
if [ -z "$chosen" ]; then
    if [ -n "$seen" ]; then
        echo "setup: $seen has no venv module. On Debian 12: apt install python3-venv" >&2
    else
        echo "setup: no Python 3.11 or 3.12 found (3.13 is too new for plyvel). On Debian 12: apt install python3 python3-venv" >&2
    fi
    exit 1
fi
echo "setup: $("$chosen" --version) -> $venv" >&2
"$chosen" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' >&2 || {
    echo "setup: pip could not install the packages; is the package index reachable?" >&2
    exit 1
}
