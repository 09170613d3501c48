# make drive    start the drive (DATA=, NAS=, HOST=, PORT= to change where)
# make test     everything a change must pass; installs what it needs
# make test-all every variant of every test, on both sets of engines (an hour and more)
# make test-vault   replays, kills and mounts once more, whole, in a vault (an hour on 2 cores)
# make check    style, types, architecture
# make bench    speed beside other servers
# make bench-production   speed on PostgreSQL, S3 and Redis beside the embedded drive
# make bench-fuse   speed of the mount beside rclone's and the disk
# make crash    500 random kills of the server and 100 of a mount; each part of a production drive away for 30 s
# make soak     an hour of people at work, then what was wrong and what grew (SOAK_SECONDS=, see tests/soak)
# make outages  the NAS away in every way for two minutes under load, and what clients feel of it (as root)
# make lock     take the newest version of every package (constraints.txt)
# make clean    remove what these made, except data

VENV := .venv
PYTHON := $(VENV)/bin/python
DATA ?= ./kelp-data
NAS ?=
HOST ?= 127.0.0.1
PORT ?= 8080
JOBS ?= 3
CRASH_ROUNDS ?= 500
MOUNT_KILLS ?= 100

.DEFAULT_GOAL := help
.PHONY: help drive test test-all test-vault check bench bench-production bench-fuse crash soak outages lock clean

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

# The stamps say for which versions of these the environment was filled.
$(VENV)/.drive-ready: pyproject.toml constraints.txt
	@scripts/make-venv
	@touch $@

$(VENV)/.tests-ready: pyproject.toml constraints.txt
	@scripts/make-venv dev
	@touch $@ $(VENV)/.drive-ready

drive: $(VENV)/.drive-ready
	@exec $(VENV)/bin/kelp serve --data "$(DATA)" $(if $(NAS),--nas "$(NAS)") --host "$(HOST)" --port "$(PORT)"

check: $(VENV)/.tests-ready
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports --no-logo

# Files are the unit that workers share: tests of one file may use one server. One worker more than CI has cores, since
# many of them wait. In their order, which has the longest (tests/crash) at the beginning: at the end one worker would
# be left alone with it.
PYTEST := $(PYTHON) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -rfEs -o tmp_path_retention_policy=failed

# Twice: embedded, then on PostgreSQL, S3 and Redis (tests/engines.py), which the tests start themselves. The second
# run is what could tell the engines apart: all that changes a drive, by any way in, and all that kills one. Outages and
# the short soak run embedded; on the others by KELP_TEST_ENGINES=production make outages, … make soak.
ON_PRODUCTION := tests/rooms/core tests/rooms/mirror tests/rooms/test_put_rollback.py \
	tests/rooms/vault/test_vaults.py tests/stateful \
	$(addprefix tests/rooms/fuse/test_,sharing.py two_writers.py) tests/crash tests/faces
# The faces without what is about HTTP before it reaches a drive, memory, the machine's own disks, or tools, and without
# what brings its own engines; what clients send is replayed embedded only. Of the rooms what opens no drive is left out;
# the contracts bring their own stores.
NOT_ON_PRODUCTION := $(addprefix --ignore=tests/faces/test_,bad_input.py bad_values.py bench.py behind_nginx.py \
	connect.py doctor.py dump_and_move.py forwarded.py fresh_clone.py full_disk.py fuzz.py known_failures.py \
	lock_bounds.py log_ins.py memory.py metrics.py old_tree.py real_tree.py recording.py replay.py replay_player.py \
	small_cache.py smuggling.py stopping.py syncs.py xml_memory.py) \
	$(addprefix --ignore=tests/faces/api/test_,openapi.py schema.py) \
	$(addprefix --ignore=tests/rooms/core/test_,closing.py database_url.py keys.py settings.py sizes.py)

# Of tests whose variants cost seconds each every twelfth variant, and of all on the production engines every 24th
# (tests/sampling.py): CI has 30 minutes on 2 cores.
test: export KELP_TEST_SHARE ?= 12
# Tests start `kelp` hundreds of times: compiled once, each start takes two thirds of the time, even where Python was
# told to keep nothing; forked from a process that has it all, a tenth (tests/warm_starts.py).
test test-all test-vault: export PYTHONDONTWRITEBYTECODE :=
test-all test-vault crash: export KELP_TEST_COLD_STARTS ?= 1
# What tests write is in memory, where there is enough of it for those of a share.
test test-all: export KELP_TEST_DISK := $(or $(TMPDIR),/tmp)
test test-all: $(VENV)/.tests-ready
	@scripts/install-test-tools
	@$(MAKE) --no-print-directory check
	@memory=$${KELP_TEST_SHARE:+$$(scripts/memory-folder)}; [ -z "$$memory" ] || export TMPDIR="$$memory"; \
	trap '[ -z "$$memory" ] || rm -rf "$$memory"' EXIT; trap 'exit 130' INT TERM; \
	$(PYTEST); embedded=$$?; \
	KELP_TEST_ENGINES=production KELP_TEST_SHARE=$${KELP_TEST_SHARE:+24} $(PYTEST) $(ON_PRODUCTION) $(NOT_ON_PRODUCTION); production=$$?; \
	echo "embedded: exit code $$embedded; PostgreSQL, S3 and Redis: exit code $$production"; \
	[ $$embedded -gt $$production ] && exit $$embedded; exit $$production

# What plays in a vault whole with KELP_TEST_VAULT=1 (tests/vaults.py); `make test` plays a share of it there. Embedded,
# on others with KELP_TEST_ENGINES=production. KELP_CRASH_SEED= repeats kills, KELP_CRASH_STRIDE=3 takes every third
# instant; tests/rooms/vault and tests/faces/test_vault* bring vaults of their own and are in every run.
IN_A_VAULT := $(addprefix tests/crash/test_,chosen_instants.py random_kills.py mount_kills.py upload_kills.py) \
	tests/faces/fuse tests/faces/test_replay.py tests/rooms/fuse
test-vault: export KELP_CRASH_ROUNDS ?= 20
test-vault: export KELP_MOUNT_KILLS ?= 20
test-vault: export KELP_CRASH_STRIDE ?= 1
test-vault: $(VENV)/.tests-ready
	@scripts/install-test-tools
	KELP_TEST_VAULT=1 $(PYTEST) --timeout 1800 $(IN_A_VAULT)

bench: $(VENV)/.tests-ready
	@scripts/install-bench-tools
	$(PYTHON) -m bench

bench-production: $(VENV)/.tests-ready
	@scripts/install-bench-tools
	$(PYTHON) -m bench.production

bench-fuse: $(VENV)/.tests-ready
	@scripts/install-bench-tools
	$(PYTHON) -m bench.fuse

crash: $(VENV)/.tests-ready
	KELP_CRASH_ROUNDS=$(CRASH_ROUNDS) KELP_MOUNT_KILLS=$(MOUNT_KILLS) KELP_CRASH_STRIDE=1 KELP_OUTAGE_SECONDS=30 \
		$(PYTHON) -m pytest tests/crash -rs --timeout 0

soak: $(VENV)/.tests-ready
	$(PYTHON) -m tests.soak

outages: $(VENV)/.tests-ready
	@scripts/install-test-tools
	$(PYTHON) -m tests.outages

lock:
	scripts/lock

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
