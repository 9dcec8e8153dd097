# fgd on one page: `make` lists what there is. Every target sets up what it needs.
# PYTHON=/path/to/python3.12 chooses the interpreter; PREFIX and DESTDIR belong to install.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?=
PREFIX ?= /opt/fgd
DESTDIR ?=
LISTEN ?= 127.0.0.1:8320
BENCH ?=
export PYTHON PREFIX DESTDIR PURGE

VENV := .venv
PY := $(VENV)/bin/python

goals := $(filter-out help,$(or $(MAKECMDGOALS),help))
ifneq ($(goals),)
ifneq ($(shell id -u),0)
$(error fgd makes namespaces, mounts and cgroups for its sandboxes, which only root may: run "sudo make $(goals)")
endif
endif

.PHONY: help setup demo test check serve bench install uninstall lab clean

help: ## list what make can do here
	@sed -n 's/^\([a-z]*\):.*## \(.*\)$$/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup: ## make .venv with the pinned packages and the command .venv/bin/fgd
	@tools/setup.sh $(VENV)

demo: setup ## start fgd, deploy a Python function, run it cold and warm, show timings, clean up
	@$(PY) tools/demo.py

test: setup ## everything: format, lint, types, unit tests, then tests in real sandboxes
	@tools/check.sh $(PY)
	@tools/test-servers.sh
	@$(PY) -m pytest $(TESTS) || { \
		echo "test: what failed runs once more, alone; on a busy machine a deadline may have passed"; \
		$(PY) -m pytest --last-failed --last-failed-no-failures=none $(TESTS); }

check: setup ## format, lint, types and unit tests, the quick round
	@tools/check.sh $(PY)
	@$(PY) -m pytest -m "not host and not slow" $(patsubst %,--ignore=tests/%,runtime host e2e faults)

serve: setup ## run the daemon in the foreground on 127.0.0.1:8320, state in ./.state
	@mkdir -p .state && exec $(VENV)/bin/fgd serve --state-dir .state/fgd --listen $(LISTEN) --admin-socket .state/fgd.sock

bench: setup ## measure everything and print a table beside the ceilings
	@$(VENV)/bin/fgd bench $(BENCH)

install: ## install as a systemd service below PREFIX (/opt/fgd), with its own environment
	@tools/install.sh

uninstall: ## remove the service; /var/lib/fgd stays, unless PURGE=1
	@tools/uninstall.sh

lab: setup ## prove the service in a virtual machine with real systemd and cgroup v2 (slow)
	@tests/lab/run.sh

clean: ## remove .venv, .state, caches and what builds leave
	@rm -rf $(VENV) .state bench-results build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
