# make demo | check | bench | build | lint, each on a machine that may have nothing yet.
# As root, missing system packages are installed by apt; else they are named. Python tools live in .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif

BUILD := build
VENV := .venv
BIN := $(VENV)/bin
NAME := livepatch
COLLECTIONS := $(BUILD)/collections
# Where `make demo` and `make check` install the built artefact: nothing but that is there.
INSTALLED := $(BUILD)/installed
# A copy of the tracked files at a path that ansible-test and ansible-lint accept.
LINTED := $(BUILD)/lint/ansible_collections/libpulp/livepatch
PYTEST := $(BIN)/python -m pytest
# Some of these tests patch every process of the host that has loaded the target.
APART := tools/apart.sh

# LD_PRELOAD and PATH are lists, with spaces and colons between their entries.
ifneq ($(words x$(subst :, ,$(CURDIR))),1)
$(error the path of this checkout, $(CURDIR), has a space or a colon in it, which LD_PRELOAD cannot express: move it)
endif

export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' Makefile

# ------------------------------------------------------------------ machine

.PHONY: system-packages
system-packages: ## install every Debian package that any target needs
	@tools/install-system-packages.sh build python check containers lint

packages-%:
	@tools/install-system-packages.sh $(subst -, ,$*)

.PHONY: venv
venv: $(VENV)/installed ## the Python tools of requirements.txt in .venv

$(VENV)/installed: requirements.txt $(VENV)/ansible
	@echo "Installing the tools of requirements.txt into $(VENV): a minute or two."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@

# Ansible and what modules import: enough to run playbooks.
$(VENV)/ansible: requirements-ansible.txt | packages-python
	@echo "Installing Ansible into $(VENV): half a minute."
	@python=$$(tools/find-python.sh) && { test -x $(BIN)/python || "$$python" -m venv $(VENV); }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-ansible.txt
	@touch $@

.PHONY: collection-path
collection-path: ## make this checkout visible as libpulp.livepatch under build/collections
	@mkdir -p $(COLLECTIONS)/ansible_collections/libpulp
	@ln -sfn ../../../.. $(COLLECTIONS)/ansible_collections/libpulp/$(NAME)

# -------------------------------------------------------------------- build

.PHONY: build
build: build-native build-command collection-path ## build/libpulp.so, build/trm.o, build/ulp, and its manual in build/share

.PHONY: build-native
build-native: packages-build build-runtime
	@meson compile -C $(BUILD)/native

.PHONY: build-runtime
build-runtime: packages-runtime
	@test -f $(BUILD)/native/build.ninja || meson setup $(BUILD)/native native
	@meson compile -C $(BUILD)/native pulp trm.o
	@for file in libpulp.so trm.o; do \
		cmp -s $(BUILD)/native/$$file $(BUILD)/$$file || install -m 755 $(BUILD)/native/$$file $(BUILD)/$$file; \
	done

.PHONY: build-command
# Compiled by the interpreter that will run it.
build-command: packages-build venv
	@mkdir -p $(BUILD)
	@$(BIN)/python roles/ulp_runtime/files/build_ulp.py $(BUILD)/ulp.zip
	@/usr/bin/python3 roles/ulp_runtime/files/compile_ulp.py $(BUILD)/ulp.zip $(BUILD)/ulp >/dev/null
	@$(BIN)/python roles/ulp_runtime/files/document_ulp.py $(BUILD)/share

# --------------------------------------------------------------------- demo

# Whether anything can be patched here is found out before anything is built.
.PHONY: demo demo-permitted
demo: packages-python demo-permitted packages-runtime $(VENV)/ansible build-runtime collection-install ## patch services while they run, one of them a stock program
	@env -u ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/$(INSTALLED)" ANSIBLE_LOCALHOST_WARNING=false \
		ANSIBLE_INVENTORY_UNPARSED_WARNING=false ANSIBLE_DISPLAY_SKIPPED_HOSTS=false \
		ANSIBLE_CALLBACK_RESULT_FORMAT=yaml \
		$(BIN)/ansible-playbook libpulp.livepatch.demo -e '{"demo_runtime": "$(CURDIR)/$(BUILD)/libpulp.so"}'

demo-permitted:
	@"$$(tools/find-python.sh)" playbooks/files/demo/permitted.py >/dev/null

# -------------------------------------------------------------------- check

# Three parts at a time, for two cores: each waits now and then, for a limit to pass or for a container to start. Whoever
# is done takes the next part, so the long ones come first.
PARTS := check-playbooks check-hazards check-use molecule-default check-unit check-native-sanitized check-native \
	check-fuzz check-collection check-bench
.PHONY: check
check: packages-check-build-containers venv build collection-path ## every test
	@$(MAKE) --jobs=3 --output-sync=target SIDE_BY_SIDE=yes $(PARTS)
	@echo "All tests passed."

.PHONY: check-native
check-native: build-native ## the runtime's own tests
	meson test -C $(BUILD)/native --print-errorlogs

# The whole runtime with sanitizers in it, in the processes of the same tests.
SANITIZED := $(BUILD)/native-sanitized
.PHONY: check-native-sanitized
check-native-sanitized: packages-build ## the same, with AddressSanitizer and UndefinedBehaviorSanitizer
	@test -f $(SANITIZED)/build.ninja || meson setup $(SANITIZED) native -Db_sanitize=address,undefined -Db_lundef=false
	meson test -C $(SANITIZED) --print-errorlogs

.PHONY: check-unit
check-unit: packages-check-build venv build collection-path ## the Python core, on real ELF files
	$(APART) $(PYTEST) tests/unit

# Always the same inputs, so that no run of it depends on luck: some 20 seconds. New ones are tried by `make fuzz`.
.PHONY: check-fuzz
check-fuzz: packages-check-build venv build collection-path ## everything that reads what others wrote, on a few damaged inputs
	$(BIN)/python tests/fuzz/fuzz.py --examples 1000

FUZZ_SECONDS := 600

# A sixth of the time for each of the two targets in C.
.PHONY: fuzz
fuzz: ## the same on new inputs, in Python and in C, for FUZZ_SECONDS=600
	@$(MAKE) fuzz-core FUZZ_SECONDS=$$(( $(FUZZ_SECONDS) * 2 / 3 ))
	@$(MAKE) fuzz-native FUZZ_SECONDS=$$(( $(FUZZ_SECONDS) / 6 ))

.PHONY: fuzz-core
fuzz-core: packages-check-build venv build collection-path ## the part in Python; FUZZ_TARGETS="elf post" for these alone
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

FUZZ_NATIVE := request frames
.PHONY: fuzz-native
fuzz-native: packages-check build-native ## the part in C, by libFuzzer: the parser of requests, the unwinder
	@meson compile -C $(BUILD)/native $(addprefix fuzz_,$(FUZZ_NATIVE))
	@for target in $(FUZZ_NATIVE); do \
		mkdir -p $(BUILD)/fuzz-native/$$target && \
		$(BUILD)/native/tests/fuzz/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 \
			-artifact_prefix=$(BUILD)/fuzz-native/ $(BUILD)/fuzz-native/$$target native/tests/fuzz/corpus/$$target || exit; \
	done

.PHONY: check-integration
check-integration: check-hazards check-use check-playbooks ## check-hazards, check-use and check-playbooks, one after the other

HAZARDS := tests/integration/test_hazard_*.py tests/integration/test_unwind_gdb.py
# Where most of the time goes into ansible-playbook.
PLAYBOOKS := tests/integration/test_playbooks.py tests/integration/test_rollout.py

.PHONY: check-hazards
check-hazards: packages-check-build venv build collection-path ## consistency under every hazard, on running processes
	$(APART) $(PYTEST) $(HAZARDS)

.PHONY: check-use
check-use: packages-check-build venv build collection-path ## the command and the modules, on running processes
	$(APART) $(PYTEST) tests/integration $(addprefix --ignore=,$(wildcard $(HAZARDS) $(PLAYBOOKS)))

.PHONY: check-playbooks
check-playbooks: packages-check-build venv build collection-path ## playbooks and roles, on running processes
	$(APART) $(PYTEST) $(PLAYBOOKS)

# What a normal check chooses from is in tests/integration/harness/variant.py.
.PHONY: check-every-variant
check-every-variant: packages-check-build venv build collection-path ## each hazard in all 50 variants: four hours
	$(APART) $(PYTEST) $(HAZARDS) --every-variant --cycles 20

# What check does in hundreds of cycles: it says, now and then, where it is and how long that test will take.
.PHONY: soak
soak: packages-check-build venv build collection-path ## 10,000 applies and reverts under stress and at bad moments: an hour
	$(APART) $(PYTEST) $(HAZARDS) --counted --cycles 10000 --timeout 0
	ULP_KILLS=20 $(APART) $(PYTEST) tests/unit/live/trigger/test_attach_killed.py

# A package whose build dependencies are missing is not run; ULP_PACKAGES_CACHE says where the builds go.
.PHONY: check-packages
check-packages: packages-check-build venv build ## fixes of Debian's source packages, made into livepatches: hours; a run that was stopped goes on
	$(BIN)/python tests/packages/run.py $(PACKAGES:%=--package %)

.PHONY: check-roots
check-roots: packages-check-build-containers venv build ## one fix for Debian 12 and 13 in one run, in their roots and images: ten minutes with the making of the roots
	$(PYTEST) tests/packages/test_roots.py

.PHONY: check-collection
check-collection: venv collection-install ## the built artefact, installed into an empty path
	tools/check-installed-collection.sh $(INSTALLED)

# Containers of an aborted run are removed first. MOLECULE=converge and the like do one step and leave them running.
MOLECULE := test
SCENARIOS := $(patsubst extensions/molecule/%/molecule.yml,%,$(wildcard extensions/molecule/*/molecule.yml))

.PHONY: molecule
molecule: $(SCENARIOS:%=molecule-%) ## every scenario of extensions/molecule, in systemd containers

molecule-%: packages-check-build-containers venv build collection-path
	@tools/container-images.sh $(BUILD)/containers $$(sed -n 's|.*localhost/debian-systemd:\([0-9a-z-]*\).*|\1|p' \
		extensions/molecule/$*/molecule.yml | sort -u)
	@$(BIN)/python extensions/molecule/shared/artefacts.py $(BUILD)/molecule
	@# Of a log of thousands of lines whoever looks at a failed run may see only the end.
	MOLECULE_COMMAND_BORDERS=false $(BIN)/molecule $(MOLECULE) -s $* 2>&1 | tee $(BUILD)/molecule-$*.log || { \
		echo "What failed, of $(BUILD)/molecule-$*.log:"; \
		grep -aB2 -A16 -E 'fatal:|failed: \[' $(BUILD)/molecule-$*.log | cut -c 1-3000 | tail -n 60; exit 2; }

.PHONY: check-roles
check-roles: venv build ## roles in systemd containers, processes of containers on a host (not part of check)
	@tools/install-system-packages.sh containers engines
	$(PYTEST) tests/roles

.PHONY: check-programs
check-programs: packages-check-build-containers-programs venv build collection-path ## nginx, redis, Python, Node, Java, Go, PostgreSQL, memcached, Apache, Erlang, sshd as they are, under load; Debian 13 (not part of check)
	$(APART) $(PYTEST) tests/programs --ignore=tests/programs/test_debian13.py
	$(PYTEST) tests/programs/test_debian13.py

# A test that fails here alone, because measuring makes everything slower, does not hide the figure.
.PHONY: coverage
coverage: packages-check-build venv build collection-path ## how much of the core the unit tests run, line by line and branch by branch
	@rm -rf $(BUILD)/coverage && mkdir -p $(BUILD)/coverage
	-$(APART) $(BIN)/python -m coverage run -m pytest tests/unit
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --sort=cover

.PHONY: check-bench
check-bench: packages-check-build venv build ## the benchmark works, in each of its parts: everything in it once
	$(APART) $(BIN)/python tests/bench/bench.py --once --output $(BUILD)/bench-once.json

.PHONY: bench
bench: packages-check-build venv build ## measure, and write build/bench.json
	$(BIN)/python tests/bench/bench.py --output $(BUILD)/bench.json

.PHONY: report-preview
report-preview: venv collection-path ## the page of a report, for 3, 40 and 400 hosts, in build/report-preview
	@$(BIN)/python tools/report-preview.py $(BUILD)/report-preview

# About a second for more than 8,000 rows is what operators may expect: see docs/operator.md.
.PHONY: bench-page
bench-page: packages-browser venv collection-path ## open the page of a report over 700 hosts in headless Chromium, and measure
	@$(BIN)/python tools/report-preview.py $(BUILD)/report-preview 700
	@$(BIN)/python tests/bench/page.py $(BUILD)/report-preview/report-700.html

.PHONY: docs
docs: venv lint-copy ## the documentation as a site, in build/docsite/html
	@tools/docsite/build.sh $(BUILD)/lint $(BUILD)/docsite

# ----------------------------------------------------------------- artefact

.PHONY: release
release: venv collection-path ## CHANGELOG.rst and changelog.yaml from the fragments, for the version in galaxy.yml
	$(BIN)/antsibull-changelog lint
	$(BIN)/antsibull-changelog release
	$(BIN)/antsibull-changelog lint-changelog-yaml changelogs/changelog.yaml

.PHONY: collection
collection: $(VENV)/ansible ## the artefact build/artefact/libpulp-livepatch-VERSION.tar.gz
	@rm -rf $(BUILD)/artefact
	@$(BIN)/ansible-galaxy collection build --output-path $(BUILD)/artefact . >/dev/null

.PHONY: collection-install
collection-install: collection
	@rm -rf $(INSTALLED)
	@env -u ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/$(INSTALLED)" $(BIN)/ansible-galaxy collection install \
		--offline --no-deps -p $(INSTALLED) $(BUILD)/artefact/libpulp-livepatch-*.tar.gz >/dev/null

# --------------------------------------------------------------------- lint

C_SOURCES := 'native/*.c' 'native/*.h' 'tests/*.c' 'tests/*.h' 'tests/*.cc' 'playbooks/*.c' 'playbooks/*.h' 'extensions/*.c'

.PHONY: lint
lint: packages-lint-build venv lint-python lint-yaml lint-native lint-shell lint-changelog lint-ansible lint-sanity lint-docs lint-galaxy ## everything clean
	@echo "Nothing to complain about."

.PHONY: lint-python lint-yaml lint-native lint-shell lint-changelog lint-ansible lint-sanity lint-copy lint-docs lint-galaxy
lint-python: venv
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy
lint-yaml: venv
	$(BIN)/yamllint --strict .
lint-native: packages-lint-build
	git ls-files -co --exclude-standard -z -- $(C_SOURCES) | xargs -0 clang-format --dry-run --Werror
	for source in native/runtime/*.c native/arch/$$(uname -m)/*.c; do \
		gcc -fanalyzer -Werror -O1 -std=gnu11 -D_GNU_SOURCE -DULP_VERSION='""' -Inative -Inative/include -Inative/arch \
			-Inative/arch/$$(uname -m) \
			-c "$$source" -o /dev/null || exit; \
	done
lint-shell: packages-lint
	git ls-files -co --exclude-standard -z -- .ci/run '*.sh' tests/roles/ssh-to-container | xargs -0 shellcheck
lint-changelog: venv
	$(BIN)/antsibull-changelog lint

lint-copy:
	@rm -rf $(LINTED) && mkdir -p $(LINTED)
	@git ls-files -co --exclude-standard -z -- . ':!tests/fuzz/corpus' | while IFS= read -r -d '' file; do \
		if test -e "$$file"; then printf '%s\0' "$$file"; fi; done | tar -c --null -T - | tar -x -C $(LINTED)
	@cd $(LINTED) && git init -q . && git add -A && git -c user.name=lint -c user.email=lint@localhost commit -q -m lint

lint-ansible: venv lint-copy
	cd $(LINTED) && env -u ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/$(BUILD)/lint" ansible-lint --offline
lint-sanity: venv lint-copy
	cd $(LINTED) && env -u ANSIBLE_CONFIG "$(CURDIR)/tools/sanity.sh"
lint-docs: venv docs
	cd $(LINTED) && env -u ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/$(BUILD)/lint" \
		antsibull-docs lint-collection-docs --plugin-docs --check-extra-docs-refs .
# What Galaxy asks of an upload.
lint-galaxy: venv collection
	tools/galaxy-importer.sh $(BUILD)/artefact/libpulp-livepatch-*.tar.gz

.PHONY: format
format: packages-lint venv ## format C, and fix what ruff can fix
	git ls-files -co --exclude-standard -z -- $(C_SOURCES) | xargs -0 clang-format -i
	$(BIN)/ruff check --no-cache --fix .

# -------------------------------------------------------------------- clean

.PHONY: clean
clean: ## remove what was built (not .venv)
	rm -rf $(BUILD) .ansible .pytest_cache .ruff_cache .hypothesis
