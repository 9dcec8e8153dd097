#!/bin/sh
# Makes the virtual environment $1 (default .venv) for this source tree: what requirements.lock pins, and fgd itself, editable.
# Does nothing when the environment was made from the same lock file already.
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}
stamp=$venv/.made-from

key=$(cat requirements.lock pyproject.toml tools/setup.sh | sha256sum | cut -d' ' -f1)
key="$key $(pwd)"
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$key" ] && "$venv/bin/python" -c '' 2>/dev/null; then
	exit 0
fi

if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
	python=$(tools/find-python.sh)
	echo "setup: making $venv with $("$python" --version)"
	rm -rf "$venv"
	"$python" -m venv "$venv"
fi
rm -f "$stamp"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
echo "setup: installing what requirements.lock pins"
"$venv/bin/python" -m pip install --quiet --require-hashes --requirement requirements.lock </dev/null
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable . </dev/null
echo "$key" >"$stamp"
echo "setup: ready, the command is $venv/bin/fgd"
