"""The fields that each kind of sensor has, as in `app.config.schema`; read by the check, and then let go."""

REQUIRED = ...

FIELDS = {
    "kind": (str, REQUIRED, 1, 32, "the kind of sensor"),
    "name": (str, None, 1, 23, "1 to 23 letters, digits, - or _"),
    "period": (float, 10, 0.1, 86400, "seconds, 0.1 to 86400"),
    "smoothing": (float, 0, 0, 0.99, "0 for none, to 0.99"),
    "dead_band": (float, None, 0, 1e9, "the change that is published, 0 for any"),
    "max_silence": (float, 3600, 1, 86400, "seconds, 1 to 86400"),
    "precision": (int, None, 0, 6, "decimals, 0 to 6"),
    "qos": (int, 0, 0, 2, "0, 1 or 2"),
    "expiry": (int, None, 1, 0x3FFFFFFF, "seconds, 1 or more"),
    "retain": (bool, False, 0, 1, "true or false"),
}


def merge_fields(**more):
    """The fields of a kind: those of all, and its own."""
    made = dict(FIELDS)
    made.update(more)
    return made
