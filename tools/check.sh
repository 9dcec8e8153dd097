#!/bin/sh
# What needs no daemon and no sandbox: format, lint, types. $1: the Python to use.
set -eu
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
"$python" -m ruff format --check --quiet . || { echo 'check: run "ruff format" on these' >&2; exit 1; }
"$python" -m ruff check --quiet .
"$python" -m mypy --no-error-summary fgd plugins tests bench tools
