"""Actuators: switches, valves, lights, servos and LED strips.

The module of a kind is loaded only if the config uses this kind.

An actuator has these attributes and methods:

- `name`, and `on`, which is True while the actuator is on,
- `platform`: the Home Assistant platform of the actuator, which is also a level of its topics,
- `command(payload, now)`: executes a command; raises ValueError and changes nothing if it is not valid,
- `run(now)`: runs timers and fades; returns the time in ms until the next call,
- `state()`: returns the payload of the state topic; `state_version` is incremented at each change,
- `enter_safe_state(now, is_end)`: switches to the safe state; `is_end` is True at the end of the program.

`run` and `enter_safe_state` raise an exception if the output fails. Call them again, and call them for each
actuator, whether or not they have failed for another one. `now` is in ticks, as `ticks_ms()` returns them.
"""


def load_module(kind):
    """Import and return the module of a kind; the module has a function `make(config, pins)`."""
    name = "actuators." + kind
    return __import__(name, None, None, (name,))


def make(items, pins, now=None):
    """Create actuators from the checked config entries `items`.

    The actuators start in their safe states, except for servos, which do not move. If `now` is not None,
    `min_off` counts from `now`. If an actuator cannot be created, the others are created first, then its
    exception is raised.
    """
    if any(config["interlock"] for config in items):
        from .interlocks import resolve

        resolve(items)
    made: list = [None] * len(items)
    failure = None
    for on in (False, True):  # actuators that are interlocked with others are switched off first
        for i, config in enumerate(items):
            if (config["safe"] == "ON") == on:
                try:
                    made[i] = load_module(config["kind"]).make(config, pins)
                except Exception as error:
                    print("%s: %r" % (config["name"], error))
                    failure = error
    if failure:
        raise failure
    for actuator, config in zip(made, items):
        # an interlock works in both directions
        interlocked = [
            made[i]
            for i, other in enumerate(items)
            if other["name"] in config["interlock"] or config["name"] in other["interlock"]
        ]
        if interlocked:
            actuator.interlocked = tuple(interlocked)
        if now is not None:
            actuator.delay_on(now)
    return made
