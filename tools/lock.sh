#!/bin/sh
# Writes the lock files anew from pyproject.toml: requirements.lock with every package that fgd, its tests and its build
# need, requirements-service.lock with those of an installed service. Pinned with hashes, for every Python from 3.12 on.
# Needs uv. Keeps the versions that are locked already; --upgrade moves to newer ones.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "lock.sh: uv is needed: pip install uv" >&2; exit 1; }

# lock FILE OPTION...
lock() {
	file=$1
	shift
	sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml |
		uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate \
			--no-emit-index-url --no-emit-find-links --output-file "$file" "$@" pyproject.toml - >/dev/null
	sed -i '1i # Made by tools/lock.sh from pyproject.toml. Do not edit.' "$file"
	if grep -qE '://|index-url|find-links|^-e' "$file"; then
		echo "lock.sh: $file names a host; look at it before you commit it" >&2
		exit 1
	fi
}

lock requirements.lock --extra dev "$@"
lock requirements-service.lock --constraint requirements.lock
