#!/bin/sh
# `make install`: fgd as a systemd service. The source goes to $PREFIX/src, its environment to $PREFIX/venv, the command to
# $PREFIX/bin/fgd (and /usr/local/bin/fgd). Again over an older one: replaces it; state and settings stay.
# DESTDIR: everything goes below it and nothing is started, for building packages.
set -eu
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/opt/fgd}
dest=${DESTDIR:-}
units=$dest/etc/systemd/system

case $prefix in /*) ;; *) echo "install: PREFIX must begin with /, not be '$prefix'" >&2; exit 1 ;; esac
if [ -z "$dest" ] && [ ! -d /run/systemd/system ]; then
	cat >&2 <<'TEXT'
install: systemd does not run this machine, so there is nothing to install a service into.
Run fgd in the foreground instead (make serve), or set DESTDIR to build a package for another machine.
TEXT
	exit 1
fi
python=$(tools/find-python.sh)

was_active=
if [ -z "$dest" ] && systemctl is-active --quiet fgd.service; then was_active=1; fi

echo "install: source to $dest$prefix/src"
rm -rf "$dest$prefix/src.new"
mkdir -p "$dest$prefix/src.new" "$dest$prefix/bin"
cp -R LICENSE README.md pyproject.toml requirements-service.lock fgd runtimes plugins docs examples "$dest$prefix/src.new/"
find "$dest$prefix/src.new" -name __pycache__ -type d -prune -exec rm -rf {} +
rm -rf "$dest$prefix/src"
mv "$dest$prefix/src.new" "$dest$prefix/src"
# the daemon's user has to read it, whatever umask it was checked out with
chmod -R u=rwX,go=rX "$dest$prefix/src"

venv=$dest$prefix/venv
key="$(sha256sum <requirements-service.lock) $("$python" -V) $python"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
umask 022
if [ "$(cat "$venv/.made-from" 2>/dev/null || true)" != "$key" ]; then
	echo "install: environment with $("$python" -V)"
	rm -rf "$venv"
	"$python" -m venv "$venv"
	"$venv/bin/python" -m pip install --quiet --require-hashes --requirement requirements-service.lock </dev/null
	echo "$key" >"$venv/.made-from"
fi
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable "$dest$prefix/src" </dev/null
if [ -n "$dest" ]; then
	# what pip wrote names the folder it was built in
	grep -rlIF "$dest$prefix" "$venv" --include='*' 2>/dev/null | while read -r file; do
		sed -i "s|$dest$prefix|$prefix|g" "$file"
	done
	"$venv/bin/python" -m compileall -q -f -s "$dest" -p / "$venv/lib" || true
fi
# the service cannot write here, so without this each start would compile everything anew
"$venv/bin/python" -m compileall -q -s "$dest" -p / "$dest$prefix/src/fgd"
ln -sfn ../venv/bin/fgd "$dest$prefix/bin/fgd"
mkdir -p "$dest/usr/local/bin"
ln -sfn "$prefix/bin/fgd" "$dest/usr/local/bin/fgd"

echo "install: units to $units"
mkdir -p "$units" "$dest/usr/lib/sysusers.d" "$dest/usr/lib/tmpfiles.d" "$dest/etc/fgd"
for unit in fgd.service fgd.socket fgd.slice; do
	sed "s|/opt/fgd|$prefix|g" "systemd/$unit" >"$units/$unit"
	chmod 644 "$units/$unit"
done
install -m 644 systemd/fgd.sysusers "$dest/usr/lib/sysusers.d/fgd.conf"
install -m 644 systemd/fgd.tmpfiles "$dest/usr/lib/tmpfiles.d/fgd.conf"
[ -e "$dest/etc/fgd/fgd.toml" ] || install -m 644 systemd/fgd.toml "$dest/etc/fgd/fgd.toml"

if [ -n "$dest" ]; then
	echo "install: done below $dest; on the machine: systemd-sysusers, systemd-tmpfiles --create, systemctl enable --now fgd"
	exit 0
fi
systemd-sysusers fgd.conf
systemd-tmpfiles --create fgd.conf
systemctl daemon-reload
if [ -n "$was_active" ]; then
	systemctl restart fgd.service
	echo "install: done, fgd was restarted"
else
	echo "install: done. Start it now and at every boot:  systemctl enable --now fgd"
fi
