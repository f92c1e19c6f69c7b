"""Actuators: what is switched, dimmed and moved. A kind's module is loaded when a config names it.

An actuator has `name`, `platform` (its level in topics, as Home Assistant names it), and

- `command(payload, now)`: obey, or raise ValueError and change nothing,
- `run(now)`: what it does by itself (a fade, the end of its time); the ms until it has to run again,
- `state()`: what is published, and `state_version`, which counts up when that is another,
- `safe(now)`: go where nothing bad can happen.

`now` is of `ticks_ms`.
"""


def load_module(kind):
    """The module of a kind: it has `make(config, pins)`."""
    name = "actuators." + kind
    return __import__(name, None, None, (name,))


def make(configs, pins):
    """The actuators that the checked entries of a config describe, each in its safe state."""
    made = [load_module(config["kind"]).make(config, pins) for config in configs]
    for actuator in made:
        actuator.interlocked = [other for other in made if other.name in actuator.interlock_names]
    return made
