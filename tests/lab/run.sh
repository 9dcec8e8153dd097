#!/usr/bin/env bash
# `make lab`: the service on a machine with real systemd and cgroup v2, from installing to removing it. The machine is virtual,
# offline and thrown away afterwards; on hosts without KVM it is emulated and about twenty times slower than the host, so time
# limits here are far above what a real machine needs. Needs qemu, debootstrap and root: vm.sh says what to install.
set -euo pipefail
cd "$(dirname "$0")/../.."
lab=${FGD_LAB_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/fgd-lab}
limit=${FGD_LAB_TIMEOUT:-2400}
export FGD_LAB_DIR=$lab

tests/lab/vm.sh build -q  # nothing to do while the image has these packages

# The guest has no network: carry an interpreter (to the same path, for it may look for its library there) and the wheels.
base=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
if [ "$base" = /usr ]; then
	echo 'lab: .venv was made with the system Python, which cannot be carried; use one of uv or pyenv (make clean; PYTHON=...)' >&2
	exit 1
fi
version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
wheels=$lab/wheels-$(cat requirements-service.lock <(echo "$version") | sha256sum | cut -c1-12)
if [ ! -d "$wheels" ]; then
	echo 'lab: fetching wheels'
	rm -rf "$wheels.new"
	.venv/bin/python -m pip download --quiet --require-hashes --only-binary :all: --dest "$wheels.new" \
		--requirement requirements-service.lock </dev/null
	mv "$wheels.new" "$wheels"
fi

tests/lab/vm.sh run --overlay --share "$wheels:/wheels" --copy "$base" --mem 2048 --timeout "$limit" \
	--env "PYTHON=$base/bin/python$version" -- "tests/lab/guest.sh"

# Disks, against the machine's own NFS server: tests of the harness, with the environment of this tree.
# And what must not be done to the clock of any other machine.
exec tests/lab/vm.sh run --overlay --copy "$base" --copy "$PWD/.venv" --mem 2048 --timeout "$limit" --env PYTHONPATH=/src \
	--env FGD_LAB_GUEST=1 -- "$PWD/.venv/bin/python" -m pytest -q -p no:cacheprovider tests/lab/nfs.py tests/lab/clock.py
