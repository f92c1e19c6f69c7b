"""Schema of the sensors in `config.json`: the fields of all kinds, in the format of `app.config.schema`."""

REQUIRED = ...

FIELDS = {
    "kind": (str, REQUIRED, 1, 32, "the kind of sensor"),
    "name": (str, None, 1, 23, "1 to 23 letters, digits, - or _"),
    "period": (float, 10, 0.1, 86400, "seconds, 0.1 to 86400"),
    "smoothing": (float, 0, 0, 0.99, "a number, 0 (none) to 0.99"),
    "dead_band": (float, None, 0, 1e9, "a number that a change must exceed, 0 for any change"),
    "max_silence": (float, 3600, 1, 86400, "seconds, 1 to 86400"),
    "precision": (int, None, 0, 6, "a number of decimals, 0 to 6"),
    "qos": (int, 0, 0, 2, "0, 1 or 2"),
    "expiry": (int, None, 1, 0x3FFFFFFF, "seconds, 1 or more"),
    "retain": (bool, False, 0, 1, "true or false"),
}


def merge_fields(**more):
    """Return the fields of a kind: the common fields and `more`, which may replace common fields."""
    fields = dict(FIELDS)
    fields.update(more)
    return fields
