#!/bin/sh
# Installs the servers that tests of triggers run against, where they are missing: Debian packages by apt, jars by Maven
# into ${XDG_CACHE_HOME:-~/.cache}/fgd-test-servers. The tests start and end them. Also Go, for a client that tests run.
# Does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fgd-test-servers

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

# mongo-java-server with its store, and a program that starts it
documents() {
	version=$(sed -n 's:.*<version>\([0-9.]*\.[0-9.]*\)</version>.*:\1:p' tests/document_server/pom.xml)
	jars=$cache/documents-$version
	packages javac default-jdk-headless
	[ -e "$jars/.complete" ] && return
	packages mvn maven
	echo "test-servers: fetching the jars of mongo-java-server $version"
	rm -rf "$jars"
	mkdir -p "$jars"
	mvn -q -B -f tests/document_server/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
		-DoutputDirectory="$jars" </dev/null
	touch "$jars/.complete"
}

# RabbitMQ: the package would start a server of its own, which the tests do not need
rabbitmq() {
	packages openssl openssl
	[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && return
	was_there=$(ps -C beam.smp -o pid= || true)
	packages rabbitmq-server rabbitmq-server
	if [ -z "$was_there" ] && command -v systemctl >/dev/null; then
		systemctl disable --now rabbitmq-server >/dev/null 2>&1 || true
	fi
}

# versitygw, an S3 server
s3() {
	version=v1.8.0
	folder=$cache/versitygw-$version
	[ -x "$folder/versitygw" ] && return
	packages go golang-go
	echo "test-servers: building versitygw $version"
	mkdir -p "$folder"
	GOBIN="$folder" GOFLAGS=-modcacherw go install "github.com/versity/versitygw/cmd/versitygw@$version" </dev/null
}

documents
rabbitmq
s3
packages /usr/sbin/mosquitto mosquitto

# Kafka's own jars, for a broker of one node
kafka() {
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/fgd-test-servers
	version=$(sed -n 's:.*<version>\([0-9.]*\.[0-9.]*\)</version>.*:\1:p' tests/kafka_jars/pom.xml)
	jars=$cache/kafka-$version
	packages java default-jre-headless
	packages openssl openssl
	[ -e "$jars/.complete" ] && return
	packages mvn maven
	echo "test-servers: fetching the jars of Kafka $version"
	rm -rf "$jars"
	mkdir -p "$jars"
	mvn -q -B -f tests/kafka_jars/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
		-DoutputDirectory="$jars" </dev/null
	touch "$jars/.complete"
}

kafka

# The client in Go: its modules, checked against go.sum, and Go's own cache of what is compiled
go_client() {
	packages go golang-go
	(cd tests/go_client && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local go build -buildvcs=false -o /dev/null .)
}

go_client
