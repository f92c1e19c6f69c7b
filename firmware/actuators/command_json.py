"""Strict parser for the JSON of commands; loaded by the first command that needs it.

The module `json` of MicroPython accepts more than JSON: missing commas, numbers such as 007, keys that occur
twice. A command must have one meaning.
"""

_BLANKS = " \t\r\n"
_LITERALS = {"true": True, "false": False, "null": None}
_NOT_JSON = "not JSON; check commas, quotes and brackets"


def parse_object(data):
    """Return the JSON object in `data` (bytes) as a dict. Raises ValueError.

    Values are strings without backslashes, numbers, true, false, null, and at the first level also objects. A
    list is returned as an empty tuple.
    """
    try:
        text = data.decode()
        fields, end = _parse_fields(text, 1, True)
        if end == len(text):
            return fields
    except (IndexError, UnicodeError):
        pass
    raise ValueError(_NOT_JSON)


def _parse_fields(text, i, is_outer):
    """Parse an object from the index after its bracket; returns its fields and the index after it.

    Raises ValueError, or IndexError at the end of the text.
    """
    fields: dict = {}
    i = _skip_blanks(text, i)
    if text[i] == "}":
        return fields, i + 1
    while True:
        name, i = _parse_string(text, i)
        i = _skip_blanks(text, i)
        if text[i] != ":":
            raise ValueError(_NOT_JSON)
        if name in fields:
            raise ValueError("%s: occurs twice" % name)
        i = _skip_blanks(text, i + 1)
        if text[i] == '"':
            fields[name], i = _parse_string(text, i)
        elif text[i] == "{" and is_outer:
            fields[name], i = _parse_fields(text, i + 1, False)
        elif text[i] == "[" and "]" in text[i:]:
            fields[name], i = (), text.find("]", i) + 1  # no field is a list: its content does not matter
        else:
            start = i
            while text[i] not in _BLANKS and text[i] not in ",}":
                i += 1
            word = text[start:i]
            fields[name] = _LITERALS[word] if word in _LITERALS else parse_number(word)
        i = _skip_blanks(text, i)
        if text[i] == "}":
            return fields, i + 1
        if text[i] != ",":
            raise ValueError(_NOT_JSON)
        i = _skip_blanks(text, i + 1)


def _skip_blanks(text, i):
    while text[i] in _BLANKS:
        i += 1
    return i


def _parse_string(text, i):
    """Return the string that begins with the quote at index `i`, and the index after it."""
    end = text.find('"', i + 1)
    if text[i] != '"' or end < 0:
        raise ValueError(_NOT_JSON)
    string = text[i + 1 : end]
    for c in string:
        if c == "\\" or c < " ":
            raise ValueError(_NOT_JSON)
    return string, end + 1


def parse_number(text):
    """Return the number in `text`, as int if it is whole. Raises ValueError if it is not a JSON number."""
    digits = text[1:] if text[:1] == "-" else text
    whole, point, rest = digits.partition(".")
    is_number = whole[:1].isdigit() and not (whole[:1] == "0" and whole[1:2].isdigit())
    if point and not rest[:1].isdigit():
        is_number = False
    for c in digits:  # `float` also accepts inf, nan, 1_000 and digits that are not ASCII
        if c not in "0123456789.eE+-":
            is_number = False
    try:
        value = float(text) if is_number else None
    except ValueError:
        value = None
    if value is None or value - value != 0:  # infinite: too large for a float
        raise ValueError(_NOT_JSON)
    return int(value) if value == int(value) else value


def check_whole(name, value, low, high):
    """Return `value`, a field of a command. Raises ValueError if it is not a whole number in this range."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError("%s: expected a number, %s to %s" % (name, low, high))
    return value
