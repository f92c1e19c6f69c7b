"""Actuators: switches, valves, lights, servos and LED strips.

The module of a kind is loaded if the config names it. An actuator has `name`, `platform` (the level of its
topics, named as in Home Assistant), `on`, and

- `command(payload, now)`: executes a command; raises ValueError if it is not valid, and changes nothing then,
- `run(now)`: runs timers and fades; returns the ms until it has to be called again,
- `state()`: returns the payload of the state topic; `state_version` counts up with each change of the state,
- `enter_safe_state(now)`: switches to the safe state.

`now` is in ticks, as `ticks_ms()` returns them.
"""


def load_module(kind):
    """Import and return the module of a kind; it has `make(config, pins)`."""
    name = "actuators." + kind
    return __import__(name, None, None, (name,))


def make(items, pins):
    """Return the actuators of the checked config entries `items`, each in its safe state."""
    made = [load_module(config["kind"]).make(config, pins) for config in items]
    for actuator, config in zip(made, items):
        actuator.interlocked = [other for other in made if other.name in config["interlock"]]
    return made
