#!/bin/sh
# Installs the servers that tests of triggers run against, where they are missing: Debian packages by apt. The tests start and
# end them. Does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."

# packages COMMAND PACKAGE...: installs the packages if the command is missing
packages() {
	command=$1
	shift
	command -v "$command" >/dev/null && return
	echo "test-servers: installing $*"
	apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 </dev/null && return
	apt-get update -qq </dev/null
	apt-get install -qq -y --no-install-recommends "$@" >/dev/null </dev/null
}

packages /usr/sbin/mosquitto mosquitto
