# Each target installs what it needs: a virtual environment in .venv with pinned packages.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEVICE_OPTIONS = $(if $(BOARD),--board "$(BOARD)",$(error BOARD= is missing. Choose one of $(patsubst boards/%/board.toml,%,$(wildcard boards/*/board.toml)))) \
  $(if $(PORT),--port "$(PORT)")
# PYTHONPATH separates folders by colons: a checkout whose path has a colon does not work (nor does venv there)
export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# these targets are not files
.PHONY: help demo flash deploy provision run repl logs ls erase update fleet monitor doctor test test-homeassistant interop conformance mutants fuzz soak power-cuts lint package size bench docs-figures setup lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/demo ## run three simulated devices and a broker, and show them live: [SECONDS=20] [BROKER=iotcore|mosquitto|mqtt://host:port]
	@$(RUN) -m tools demo --broker "$(or $(BROKER),iotcore)" $(if $(SECONDS),--seconds $(SECONDS))

flash: $(VENV)/board ## install MicroPython, library, application and config on a board: BOARD=esp32 [PORT=] [FIRMWARE=file] [DRIVE=] [DRY_RUN=1] [ARGS="--set wifi.ssid=home"]
	@$(RUN) -m tools flash $(DEVICE_OPTIONS) $(if $(FIRMWARE),--firmware "$(FIRMWARE)") $(if $(DRIVE),--drive "$(DRIVE)") \
	  $(if $(BAUD),--baud $(BAUD)) $(if $(DRY_RUN),--dry-run) $(ARGS)

deploy: $(VENV)/board ## copy the changed files of library and application to a board: BOARD=esp32 [PORT=]
	@$(RUN) -m tools deploy $(DEVICE_OPTIONS) $(ARGS)

provision: $(VENV)/board ## write the config and the certificates of a device: BOARD=esp32 [PORT=] [ARGS="--set broker.host=10.0.0.5 --ca ca.pem"]
	@$(RUN) -m tools provision $(DEVICE_OPTIONS) $(ARGS)

run: $(VENV)/board ## run a Python file on a board, with the library available: FILE=example.py [PORT=] [BOARD=]
	@$(RUN) -m tools run $(if $(PORT),--port "$(PORT)") $(if $(BOARD),--board "$(BOARD)") $(ARGS) \
	  "$(or $(FILE),$(error FILE= is missing. Example: FILE=example.py))"

repl: $(VENV)/board ## open the MicroPython prompt of a board: [PORT=]
	@$(RUN) -m tools repl $(if $(PORT),--port "$(PORT)") $(ARGS)

logs: $(VENV)/board ## print the console output of a device: [PORT=] [SECONDS=] [ARGS=--restart]
	@$(RUN) -m tools logs $(if $(PORT),--port "$(PORT)") $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

ls: $(VENV)/board ## list the files on a board: [PORT=]
	@$(RUN) -m tools ls $(if $(PORT),--port "$(PORT)") $(ARGS)

erase: $(VENV)/board ## erase a board, after a confirmation: BOARD=esp32 [PORT=] [ARGS=--files-only]
	@$(RUN) -m tools erase $(DEVICE_OPTIONS) $(ARGS)

test: $(VENV)/dev ## run all tests: unit tests on each interpreter, tests with real brokers and simulated devices
	@$(RUN) -m host_tests $(ARGS)

test-homeassistant: $(VENV)/dev ## test devices with a real Home Assistant (needs Python 3.12 or 3.13)
	@$(RUN) -m host_tests.homeassistant $(ARGS)

interop: $(VENV)/dev ## compare our packets with those of other MQTT libraries, with more examples than `make test`: [EXAMPLES=1000]
	@$(RUN) -m host_tests.interop $(if $(EXAMPLES),--examples $(EXAMPLES))

conformance: $(VENV)/dev ## write docs/conformance.md: the tests of each statement of the MQTT standard
	@$(RUN) -m tools conformance $(ARGS)

mutants: $(VENV)/dev ## mutation tests: break the library at least once for each statement of the MQTT standard; a test must fail
	@$(RUN) -m tools mutants $(ARGS)

fuzz: $(VENV)/dev ## feed mutated byte streams to the client: [SECONDS=60] or [STREAMS=1000000], [SEED=7], [REPLAY=FILE]
	@$(RUN) -m host_tests.fuzz.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(STREAMS),--streams $(STREAMS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(REPLAY),--replay $(REPLAY))

soak: $(VENV)/dev $(VENV)/bench ## run a client whose network, DNS servers and broker fail at random: [SECONDS=600] [SEED=1] [ARGS="--log packets.txt"]
	@$(RUN) -m host_tests.faults.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

power-cuts: $(VENV)/dev ## simulate power cuts at random points while the journal writes: [CUTS=100000] [SEED=7]
	@$(RUN) -m host_tests.journal.power_cuts $(if $(CUTS),--cuts $(CUTS)) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/dev ## run ruff, mypy (with the stubs of each board), the import rules and mpy-cross
	@$(RUN) -m tools lint

monitor: $(VENV)/monitor ## show readings, status and alerts of all devices live: [BROKER=mqtt://host] [WEB=1] [ARGS="--prefix umqtt5 --alert 'kitchen/load>2'"]
	@$(RUN) -m tools monitor $(if $(BROKER),--broker "$(BROKER)") $(if $(WEB),--web) $(ARGS)

doctor: $(VENV)/board ## check computer, board and broker, and print a remedy for each problem: [BOARD=] [PORT=] [BROKER=mqtts://user:password@host] [ARGS="--ca ca.pem"]
	@$(RUN) -m tools doctor $(if $(BOARD),--board "$(BOARD)") $(if $(PORT),--port "$(PORT)") \
	  $(if $(BROKER),--broker "$(BROKER)") $(ARGS)

update: $(VENV)/board ## update a device over the air: DEVICE=greenhouse-1 BOARD=esp32 [BROKER=mqtt://host] [ARGS="--key update.key"]
	@$(RUN) -m tools update $(or $(DEVICE),$(error DEVICE= is missing. Example: DEVICE=greenhouse-1)) $(if $(BOARD),--board "$(BOARD)") \
	  $(if $(BROKER),--broker "$(BROKER)") $(ARGS)

fleet: $(VENV)/board $(VENV)/monitor ## simulate N devices, or manage the devices of fleet.toml: [N=100] [BROKER=] [SECONDS=], or ARGS="init|generate|list|flash|run"
	@$(RUN) -m tools fleet $(or $(ARGS),run $(if $(N),--count $(N)) $(if $(BROKER),--broker "$(BROKER)") $(if $(SECONDS),--seconds $(SECONDS)))

package: $(VENV)/board ## write the file lists for mip and freezing, and build a release of .mpy files for mip
	@$(RUN) -m tools package $(ARGS)

size: $(VENV)/dev ## measure code size and heap
	@$(RUN) -m tools size

bench: $(VENV)/dev $(VENV)/bench ## benchmark against other MQTT clients: [ARGS="--quick --markdown"]
	@$(RUN) -m tools bench $(ARGS)

docs-figures: $(VENV)/dev ## write the measured figures into README.md and docs/: [ARGS=--check]
	@$(RUN) -m tools docs-figures $(ARGS)

setup: $(VENV)/dev ## install the packages for development, run nothing

lock: $(VENV)/dev ## update tools/requirements/ to the newest packages that pyproject.toml allows
	@for set in demo board monitor dev bench; do \
	  $(VENV)/bin/uv pip compile -q pyproject.toml --extra $$set --universal --python-version 3.10 \
	    --fork-strategy fewest --no-header --no-annotate --upgrade -o tools/requirements/$$set.txt; done

clean: ## delete .venv, build and caches
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis tools/vm/webassembly/node_modules host_tests/interop/node_modules

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is older than Python 3.10. Choose a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot create a virtual environment. Run: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/%: tools/requirements/%.txt | $(VENV)/bin/python
	@echo "Installing the $* packages into $(VENV), once"
	@$(RUN) -m pip install --quiet --requirement $<
	@touch $@
