#!/bin/sh
# `make uninstall`: stops the service and removes what `make install` put in place. Functions, queued events and logs in
# /var/lib/fgd and the settings in /etc/fgd stay, unless PURGE=1.
set -eu
prefix=${PREFIX:-/opt/fgd}
dest=${DESTDIR:-}

if [ -z "$dest" ] && [ -d /run/systemd/system ]; then
	systemctl disable --quiet --now fgd.socket fgd.service 2>/dev/null || true
	systemctl stop fgd.slice 2>/dev/null || true
fi
for unit in fgd.service fgd.socket fgd.slice; do rm -f "$dest/etc/systemd/system/$unit"; done
rm -f "$dest/usr/lib/sysusers.d/fgd.conf" "$dest/usr/lib/tmpfiles.d/fgd.conf"
if [ "$(readlink "$dest/usr/local/bin/fgd" 2>/dev/null)" = "$prefix/bin/fgd" ]; then rm -f "$dest/usr/local/bin/fgd"; fi
# only what is ours: PREFIX might be a folder that others use too
rm -rf "$dest$prefix/src" "$dest$prefix/venv" "$dest$prefix/bin/fgd"
rmdir "$dest$prefix/bin" "$dest$prefix" 2>/dev/null || true
if [ -z "$dest" ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl reset-failed fgd.service 2>/dev/null || true
fi

if [ "${PURGE:-}" = 1 ]; then
	rm -rf "$dest/var/lib/fgd" "$dest/var/cache/fgd" "$dest/etc/fgd"
	if [ -z "$dest" ] && getent passwd fgd >/dev/null; then userdel fgd; fi
	echo 'uninstall: done, with state, settings and account'
else
	echo 'uninstall: done; /var/lib/fgd and /etc/fgd are kept (make uninstall PURGE=1 removes them too)'
fi
