#!/bin/sh
# Prints the path of a Python that is 3.12 or newer and can make virtual environments; says how to get one if there is none.
# PYTHON=/path/to/python chooses one. A name on PATH proves nothing (version managers leave shims there that
# only complain), so every candidate is run.
set -u

check='import sys, venv, ensurepip; sys.exit(not (sys.version_info >= (3, 12) and sys.implementation.name == "cpython"))'

try() {
	[ -x "$1" ] || return 1
	"$1" -I -c "$check" >/dev/null 2>&1 </dev/null || return 1
	# what it really is: a shim or a link may change its mind later, in another folder
	"$1" -I -c 'import os, sys; print(os.path.realpath(sys.executable))' </dev/null
	exit 0
}

if [ -n "${PYTHON:-}" ]; then
	try "$(command -v "$PYTHON" || echo "$PYTHON")"
	echo "PYTHON is $PYTHON, but that is no CPython 3.12 or newer with the modules venv and ensurepip:" >&2
	"$PYTHON" -I -c 'import sys, venv, ensurepip; print(sys.version)' >&2 </dev/null
	exit 1
fi

owner_home=
[ -n "${SUDO_USER:-}" ] && owner_home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
root_home=$(getent passwd 0 | cut -d: -f6)

for version in 3.12 3.13 3.14; do
	found=$(command -v "python$version") && try "$found"
	for home in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv" "$owner_home/.pyenv" "$root_home/.pyenv" /opt/pyenv; do
		case $home in /*) ;; *) continue ;; esac
		for found in "$home/versions/$version".*/bin/python; do try "$found"; done
	done
	for found in /usr/local/bin/python$version /opt/python*/bin/python$version /opt/*/python*/bin/python$version; do
		try "$found"
	done
done
found=$(command -v python3) && try "$found"

for uv in "$(command -v uv)" "${HOME:-}/.local/bin/uv" "$owner_home/.local/bin/uv"; do
	[ -x "$uv" ] || continue
	found=$("$uv" python find --no-project --no-python-downloads '>=3.12' 2>/dev/null </dev/null) && try "$found"
done

cat >&2 <<'TEXT'
fgd needs Python 3.12 or newer, with venv, and found none. Get one by any of these, then try again:
  apt-get install python3.12 python3.12-venv      (Debian 13, Ubuntu 24.04 and newer)
  uv python install 3.12                          (any distribution; uv: pip install uv, or pipx install uv)
  pyenv install 3.12                              (builds it; https://github.com/pyenv/pyenv)
or name it:  make setup PYTHON=/path/to/python3.12
TEXT
exit 1
