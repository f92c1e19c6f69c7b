# `make demo` and `make test` do all their set-up: a .venv with pinned packages.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEVICE = $(if $(BOARD),--board "$(BOARD)",$(error BOARD= is missing, one of $(notdir $(wildcard boards/*)))) \
  $(if $(PORT),--port "$(PORT)")
# a colon in a folder's name would break these, as it breaks venv itself
export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# a target is a command of tools/, never a file
.PHONY: help demo flash deploy provision run repl logs ls erase update fleet monitor doctor test test-homeassistant judges conformance mutants fuzz soak cuts lint package size bench setup lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/demo ## three devices and a broker, live: [SECONDS=20] [BROKER=iotcore|mosquitto|mqtt://host:port]
	@$(RUN) -m tools demo --broker "$(or $(BROKER),iotcore)" $(if $(SECONDS),--seconds $(SECONDS))

flash: $(VENV)/board ## a bare board becomes a device: BOARD=esp32 [PORT=] [FIRMWARE=file] [DRIVE=] [DRY=1] [ARGS="--set wifi.ssid=home"]
	@$(RUN) -m tools flash $(DEVICE) $(if $(FIRMWARE),--firmware "$(FIRMWARE)") $(if $(DRIVE),--drive "$(DRIVE)") \
	  $(if $(BAUD),--baud $(BAUD)) $(if $(DRY),--dry) $(ARGS)

deploy: $(VENV)/board ## library and application onto it, only what has changed: BOARD=esp32 [PORT=]
	@$(RUN) -m tools deploy $(DEVICE) $(ARGS)

provision: $(VENV)/board ## its config and certificates: BOARD=esp32 [PORT=] [ARGS="--set broker.host=10.0.0.5 --ca ca.pem"]
	@$(RUN) -m tools provision $(DEVICE) $(ARGS)

run: $(VENV)/board ## a program of yours on it, the library mounted: FILE=example.py [PORT=] [BOARD=]
	@$(RUN) -m tools run $(if $(PORT),--port "$(PORT)") $(if $(BOARD),--board "$(BOARD)") $(ARGS) \
	  "$(or $(FILE),$(error FILE= is missing, such as FILE=example.py))"

repl: $(VENV)/board ## MicroPython's prompt on a board: [PORT=]
	@$(RUN) -m tools repl $(if $(PORT),--port "$(PORT)") $(ARGS)

logs: $(VENV)/board ## what a device says on its console: [PORT=] [SECONDS=] [ARGS=--restart]
	@$(RUN) -m tools logs $(if $(PORT),--port "$(PORT)") $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

ls: $(VENV)/board ## the files on a board: [PORT=]
	@$(RUN) -m tools ls $(if $(PORT),--port "$(PORT)") $(ARGS)

erase: $(VENV)/board ## everything off a board, after a question: BOARD=esp32 [PORT=] [ARGS=--files]
	@$(RUN) -m tools erase $(DEVICE) $(ARGS)

test: $(VENV)/dev ## everything: unit tests on each interpreter, brokers, devices
	@$(RUN) -m host_tests $(ARGS)

test-homeassistant: $(VENV)/dev ## devices before the real Home Assistant, where there is a Python 3.12 or 3.13
	@$(RUN) -m host_tests.homeassistant $(ARGS)

judges: $(VENV)/dev ## our packets before other libraries, more than in `make test`: [EXAMPLES=1000]
	@$(RUN) -m host_tests.interop $(if $(EXAMPLES),--examples $(EXAMPLES))

conformance: $(VENV)/dev ## the tests of each statement of the standard, written to docs/conformance.md
	@$(RUN) -m tools conformance $(ARGS)

mutants: $(VENV)/dev ## break the library for each statement, and see its tests fail
	@$(RUN) -m tools mutants $(ARGS)

fuzz: $(VENV)/dev ## mutated streams into the client: [SECONDS=60] or [STREAMS=1000000], [SEED=7], [REPLAY=FILE]
	@$(RUN) -m host_tests.fuzz.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(STREAMS),--streams $(STREAMS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(REPLAY),--replay $(REPLAY))

soak: $(VENV)/dev $(VENV)/bench ## a device in 64 KB of heap behind a network that fails: [MESSAGES=100000] [SEED=1]
	@$(RUN) -m host_tests.faults.soak $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED))

cuts: $(VENV)/dev ## power cuts by chance under the journal: [CUTS=100000] [SEED=7]
	@$(RUN) -m host_tests.journal.power_cuts $(if $(CUTS),--cuts $(CUTS)) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/dev ## ruff, mypy with the boards' stubs, the direction of imports
	@$(RUN) -m tools lint

monitor: $(VENV)/monitor ## what the devices say, live: [BROKER=mqtt://host] [WEB=1] [ARGS="--prefix umqtt5 --alert 'kitchen/load>2'"]
	@$(RUN) -m tools monitor $(if $(BROKER),--broker "$(BROKER)") $(if $(WEB),--web) $(ARGS)

doctor: $(VENV)/board ## what is wrong, and what to do: [BOARD=] [PORT=] [BROKER=mqtts://user:password@host] [ARGS="--ca ca.pem"]
	@$(RUN) -m tools doctor $(if $(BOARD),--board "$(BOARD)") $(if $(PORT),--port "$(PORT)") \
	  $(if $(BROKER),--broker "$(BROKER)") $(ARGS)

update: $(VENV)/board ## a new version over the air: DEVICE=greenhouse-1 BOARD=esp32 [BROKER=mqtt://host] [ARGS="--key update.key"]
	@$(RUN) -m tools update $(or $(DEVICE),$(error DEVICE= is missing, such as DEVICE=greenhouse-1)) $(if $(BOARD),--board "$(BOARD)") \
	  $(if $(BROKER),--broker "$(BROKER)") $(ARGS)

fleet: $(VENV)/board $(VENV)/monitor ## many devices of one description: N=100 simulates so many [BROKER=] [SECONDS=]; else [ARGS="init|make|list|flash|run"]
	@$(RUN) -m tools fleet $(or $(ARGS),run $(if $(N),--count $(N)) $(if $(BROKER),--broker "$(BROKER)") $(if $(SECONDS),--seconds $(SECONDS)))

package: $(VENV)/board ## the library for mip, as source and compiled
	@$(RUN) -m tools package $(ARGS)

size: $(VENV)/dev ## bytes of code and of heap
	@$(RUN) -m tools size

bench: $(VENV)/dev $(VENV)/bench ## rates, bytes and heap beside other clients: [ARGS="--quick --markdown"]
	@$(RUN) -m tools bench $(ARGS)

setup: $(VENV)/dev ## only the set-up

lock: $(VENV)/dev ## pin anew what pyproject.toml asks for
	@for set in demo board monitor dev bench; do \
	  $(VENV)/bin/uv pip compile -q pyproject.toml --extra $$set --universal --python-version 3.10 \
	    --fork-strategy fewest --no-header --no-annotate --upgrade -o tools/requirements/$$set.txt; done

clean: ## remove .venv, build and caches
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis tools/vm/webassembly/node_modules host_tests/interop/node_modules

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "venv is missing: apt-get install python3-venv, or a Python that has it"; rm -rf $(VENV); exit 1; }

$(VENV)/%: tools/requirements/%.txt | $(VENV)/bin/python
	@echo "installing $* packages into $(VENV) (once)"
	@$(RUN) -m pip install --quiet --requirement $<
	@touch $@
