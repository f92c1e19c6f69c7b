"""Actuators: switches, valves, lights, servos and LED strips.

The module of a kind is loaded only if the config uses this kind.

An actuator has these attributes and methods:

- `name`, and `on`, which is True while the actuator is on,
- `platform`: the Home Assistant platform of the actuator, which is also a level of its topics,
- `command(payload, now)`: executes a command; raises ValueError and changes nothing if it is not valid,
- `run(now)`: runs timers and fades; returns the time in ms until the next call,
- `state()`: returns the payload of the state topic; `state_version` is incremented at each change,
- `enter_safe_state(now)`: switches to the safe state.

`now` is in ticks, as `ticks_ms()` returns them.
"""


def load_module(kind):
    """Import and return the module of a kind; the module has a function `make(config, pins)`."""
    name = "actuators." + kind
    return __import__(name, None, None, (name,))


def make(items, pins):
    """Create actuators from the checked config entries `items`.

    The actuators start in their safe states, except for servos, which do not move.
    """
    made = [load_module(config["kind"]).make(config, pins) for config in items]
    for actuator, config in zip(made, items):
        actuator.interlocked = [other for other in made if other.name in config["interlock"]]
    return made
