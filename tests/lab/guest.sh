#!/bin/bash
# Runs inside of the lab machine, as root, in a copy of the source tree: see run.sh.
set -uo pipefail
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PATH=/usr/local/bin:$PATH
failures=0
began=$SECONDS

# check TEXT COMMAND... - one line; what the command printed only when it failed
check() {
	local text=$1 output start=$SECONDS
	shift
	if output=$("$@" 2>&1); then
		echo "ok    $text ($((SECONDS - start)) s)"
	else
		echo "FAIL  $text ($((SECONDS - start)) s): $*"
		printf '%s\n' "$output" | tail -n 25 | sed 's/^/      /'
		failures=$((failures + 1))
		return 1
	fi
}

# must TEXT COMMAND... - like check, but without it nothing that follows makes sense
must() { check "$@" || finish; }

finish() {
	if [ "$failures" -gt 0 ]; then
		echo "--- the daemon's log"
		journalctl -u fgd --no-pager -n 80 -o cat
	fi
	echo "lab: $failures failed, $((SECONDS - began)) s inside of the machine"
	exit $((failures > 0))
}

# until_true SECONDS COMMAND...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "not within the time: $*"; "$@"; return 1; }
		sleep 1
	done
}

json() { python3 -c "import json, sys; value = json.load(sys.stdin); print($1)"; }
main_pid() { systemctl show -P MainPID fgd; }
prints() { [ "$("${@:2}")" = "$1" ]; }
mounts() { sort /proc/self/mountinfo | cut -d' ' -f3-5; }
answers() { fgd status; }

the_daemon_has_no_rights() {
	local pid
	pid=$(main_pid)
	[ "$(stat -c %U /proc/"$pid")" = fgd ] && grep -qE '^CapEff:\s0+$' /proc/"$pid"/status &&
		grep -qE '^CapBnd:\s0+$' /proc/"$pid"/status && grep -qE '^NoNewPrivs:\s1$' /proc/"$pid"/status
}

# Blank sandboxes have the rights of their own namespaces until they get their code; on this machine they have none.
only_the_launcher_has_rights() {
	local pid privileged=0 host
	host=$(readlink /proc/1/ns/user)
	for pid in $(find /sys/fs/cgroup/fgd.slice/fgd.service -name cgroup.procs -exec cat {} +); do
		[ "$(readlink "/proc/$pid/ns/user")" = "$host" ] || continue
		grep -qE '^CapEff:\s0+$' "/proc/$pid/status" && continue
		echo "$pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
		privileged=$((privileged + 1))
	done
	[ "$privileged" = 1 ]
}

exposure_is_small() {
	local line
	line=$(systemd-analyze security --no-pager fgd.service | tail -n 1)
	echo "$line"
	python3 -c 'import re, sys; sys.exit(float(re.search(r"service: ([\d.]+)", sys.argv[1])[1]) > 4.4)' "$line"
}

the_memory_limit_kills() {
	fgd invoke hog --data '{"mib": 400}' --json >/tmp/hog.json
	[ $? = 1 ] && [ "$(json 'value["error_code"]' </tmp/hog.json)" = 4205 ] || { cat /tmp/hog.json; return 1; }
	prints '{"blocks": 1}' fgd invoke hog --data '{"mib": 1}'
}

size_of() { fgd invoke sized --data "$1" ${2:+--memory "$2"}; }

idle_instances_are_resized() {
	local small large back
	small=$(size_of '{}') && large=$(size_of '{"mib": 300}' 512) && back=$(size_of '{"mib": 1}' 512) && back=$(size_of '{}') || return 1
	echo "$small, $large, $back"
	[ "$large" = "${small% *} 512" ] && [ "$back" = "$small" ]
}

what_is_held_is_not_taken_away() {
	local large small again
	large=$(size_of '{"mib": 300}' 512) && small=$(size_of '{}') && again=$(size_of '{}' 512) || return 1
	echo "$large, $small, $again"
	[ "$large" = "$again" ] && [ "${small% *}" != "${large% *}" ]
}

said_bye() { [ -n "$(fgd logs sized --match bye)" ]; }

count_of() { fgd async list slow --json | json "sum(one['status'] == '$1' for one in value['invocations'])"; }
all_five_succeeded() { prints 5 count_of SUCCESS; }

queue_five() {
	for _ in 1 2 3 4 5; do fgd invoke slow --data '{"seconds": 15}' --async || return 1; done
	[ "$(count_of SUCCESS)" -lt 5 ]
}

nothing_is_left() {
	local left=0
	if pgrep -u fgd; then left=1; fi
	# uids of instances are far above those of accounts
	if ps -eo uid,pid,args --no-headers | awk '$1 >= 1879048192 && $1 < 4294967290' | grep .; then left=1; fi
	if find /sys/fs/cgroup -path '*fgd.service*' | grep .; then left=1; fi
	if ! diff /tmp/mounts.before <(mounts); then left=1; fi
	if [ -e /run/fgd/fgd.sock ]; then echo '/run/fgd/fgd.sock'; left=1; fi
	return $left
}

the_port_answers() {
	python3 -c 'import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:8320/healthz", timeout=60).status)'
}

nothing_is_installed() {
	local path
	for path in /opt/fgd /etc/systemd/system/fgd.service /usr/local/bin/fgd /usr/lib/sysusers.d/fgd.conf; do
		if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; return 1; fi
	done
}

make_or() { # make TARGET, or what it runs where there is no make
	if command -v make >/dev/null; then make "$1"; else "tools/$1.sh"; fi
}

# A host on the other side of a network card, with a web server; the way to everywhere leads there.
make_a_world() {
	modprobe -a veth nf_tables nft_chain_nat nft_masq nft_ct nft_fib_inet overlay 2>/dev/null
	ip netns add world && ip link add to-world type veth peer name card netns world &&
		ip addr add 203.0.113.1/24 dev to-world && ip link set to-world up &&
		ip -n world addr add 203.0.113.2/24 dev card && ip -n world link set card up && ip -n world link set lo up &&
		ip route add default via 203.0.113.2 || return 1
	ip netns exec world python3 -m http.server 8080 --bind 203.0.113.2 >/dev/null 2>&1 &
}

allow_a_disk() {
	mkdir -p /srv/shared /etc/systemd/system/fgd.service.d && chmod 755 /srv/shared && chown 5000:5000 /srv/shared
	printf 'mount_roots = ["shared=/srv/shared"]\n' >>/etc/fgd/fgd.toml
	printf '[Service]\nReadWritePaths=/srv/shared\n' >/etc/systemd/system/fgd.service.d/disk.conf
	systemctl daemon-reload
}

it_reaches_what_it_may() {
	local answer
	answer=$(fgd invoke reach --tail --data '{"addresses": ["203.0.113.2:8080", "203.0.113.1:22", "127.0.0.1:8320"]}' 2>/tmp/reach.log) ||
		{ cat /tmp/reach.log; return 1; }
	echo "$answer"
	[ "$answer" = '{"connected": [true, false, false], "api": 200, "disk": "written"}' ] &&
		[ "$(stat -c %u:%g /srv/shared/note)" = 5000:5000 ]
}

reserved_are() { [ "$(fgd reserved list --json | json 'sum(one["count"] for one in value["reserved_instances"])')" = "$1" ]; }

an_alias_moves() {
	fgd versions publish hello --name v1 && fgd aliases create hello live v1 && fgd invoke 'hello@!live' &&
		fgd aliases update hello live latest && fgd invoke 'hello@!live'
}

no_network_is_left() { ! nft list tables | grep fgd && ! ip -o link show type veth | grep -v to-world; }

check 'a network card with somebody behind it' make_a_world
mounts >/tmp/mounts.before
must 'install' make_or install
check 'a folder for disks' allow_a_disk
check 'installing again changes nothing' make_or install
must 'start' systemctl enable --now fgd
check 'it says that it is ready' systemctl is-active fgd
check 'the daemon is fgd and has no capability' the_daemon_has_no_rights
check 'exposure of the unit is at most 4.4' exposure_is_small
check 'doctor finds nothing wrong' fgd doctor --config /etc/fgd/fgd.toml
must 'deploy' fgd deploy examples/hello
check 'invoke' fgd invoke hello --data '{"name": "lab"}' --timing
check 'invoke again' fgd invoke hello --data '{"name": "lab"}' --timing
check 'only the launcher has capabilities' only_the_launcher_has_rights
check 'an agency' fgd agencies create reader --policy 'FunctionGraph ReadOnlyAccess'
check 'deploy a function with a network, a disk and rights' fgd deploy tests/lab/functions/reach --timeout 60 --network public --agency reader \
	--mount type=host,resource=shared,path=/mnt/shared --mount-user 5000:5000
check 'it reaches what it may and nothing else' it_reaches_what_it_may
check 'an alias moves' an_alias_moves
check 'two reserved instances' fgd reserved set hello 2
check 'they come' until_true 120 reserved_are 2
check 'upload a dependency' fgd dependency upload library tests/lab/library --runtime Python3.12
check 'deploy a function that has it' fgd deploy tests/lab/functions/user --dependency library --timeout 60
check 'code and dependency are one tree' prints '{"word": "shared"}' fgd invoke user
check 'deploy a function that uses memory' fgd deploy tests/lab/functions/hog --timeout 60
check 'the memory limit kills, the next call is right' the_memory_limit_kills
check 'deploy a function whose requests choose their memory' fgd deploy tests/lab/functions/sized --timeout 60 \
	--dynamic-memory --pre-stop index.bye
check 'idle instances are resized' idle_instances_are_resized
check 'an instance that holds more keeps its size' what_is_held_is_not_taken_away
check 'deploy a slow function' fgd deploy tests/lab/functions/slow --timeout 60 --max-instances 1
check 'queue five events' queue_five
check 'reload' systemctl reload fgd
check 'restart' systemctl restart fgd
check 'functions are still there' fgd invoke hello
check 'the restart waited for the pre-stop handlers' said_bye
check 'all queued events ran' until_true 400 all_five_succeeded
kill -9 "$(main_pid)"
check 'killed with -9 it comes back' until_true 120 answers
check 'and its functions with it' fgd invoke hello
check 'and the reserved instances' until_true 200 reserved_are 2
check 'and networks and disks' it_reaches_what_it_may
check 'stop' systemctl stop fgd
check 'stop leaves no process, cgroup, mount or socket' nothing_is_left
check 'and no rule or interface' no_network_is_left
rm -r /etc/systemd/system/fgd.service.d && systemctl daemon-reload
sed -i '/^mount_roots/d' /etc/fgd/fgd.toml
check 'socket activation starts it' systemctl start fgd.socket
check 'a request to the port starts the daemon' the_port_answers
check 'stop both' systemctl stop fgd.socket fgd.service
check 'uninstall' make_or uninstall
check 'uninstall leaves the program nowhere' nothing_is_installed
check 'state is kept' test -s /var/lib/fgd/catalog.db
export PURGE=1
check 'uninstall with PURGE=1' make_or uninstall
check 'state is gone' test ! -e /var/lib/fgd
check 'nothing is left at the end' nothing_is_left
finish
