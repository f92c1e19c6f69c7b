"""Actuators: switches, valves, lights, servos and LED strips.

The module of a kind is loaded only if the config uses this kind. An actuator has `name`, `on`, `platform`
(the Home Assistant name of its type, a level of its topics), and

- `command(payload, now)`: executes a command; raises ValueError, without any change, if it is not valid,
- `run(now)`: runs timers and fades; returns the time in ms until the next call,
- `state()`: returns the payload of the state topic; `state_version` is incremented at each change,
- `enter_safe_state(now)`: switches to the safe state.

`now` is in ticks, as `ticks_ms()` returns them.
"""


def load_module(kind):
    """Import and return the module of a kind; it has `make(config, pins)`."""
    name = "actuators." + kind
    return __import__(name, None, None, (name,))


def make(items, pins):
    """Create actuators from the checked config entries `items`, in their safe states; servos do not move."""
    made = [load_module(config["kind"]).make(config, pins) for config in items]
    for actuator, config in zip(made, items):
        actuator.interlocked = [other for other in made if other.name in config["interlock"]]
    return made
