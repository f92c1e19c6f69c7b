"""Checks the text of `config.json`, because the `json` module of MicroPython accepts much that is not JSON.

It ignores missing and extra commas, keeps the last one of duplicate keys, and decodes a character outside the
Basic Multilingual Plane, written as two escapes, to two invalid characters. `config` loads this module, and
unloads it.
"""

_MAX_DEPTH = 8
_ESCAPES = b'"\\/bfnrt'
_SYNTAX = "not JSON; check commas, quotes and brackets"


class _Scanner:
    """A strict JSON parser that returns nothing. Errors are ValueErrors that name the field or the line."""

    def __init__(self, data):
        self._data = data
        self._at = 0
        self.pairs: list = []  # (offset, code point) of characters that are written as two escapes

    def scan(self):
        """Check the whole text."""
        self._value("", 0)
        self._skip_blanks()
        if self._at < len(self._data):
            self._fail_syntax()

    def _fail_syntax(self):
        line = self._data[: self._at].count(b"\n") + 1
        raise ValueError(_SYNTAX + " near line %d" % line if line > 1 else _SYNTAX)

    def _skip_blanks(self):
        data = self._data
        while self._at < len(data) and data[self._at] in b" \t\r\n":
            self._at += 1
        return data[self._at] if self._at < len(data) else 0

    def _value(self, path, depth):
        c = self._skip_blanks()
        if depth > _MAX_DEPTH:
            raise ValueError("%s: nested too deeply" % path)
        if c == 0x7B:
            self._object(path, depth)
        elif c == 0x5B:
            self._array(path, depth)
        elif c == 0x22:
            self._string(path)
        else:
            self._word(path)

    def _object(self, path, depth):
        keys = set()
        self._at += 1
        if self._skip_blanks() == 0x7D:
            self._at += 1
            return
        while True:
            if self._skip_blanks() != 0x22:
                self._fail_syntax()
            start = self._at
            self._string(path)
            key = self._decode(start)
            name = path + "." + key if path else key
            if key in keys:
                raise ValueError("%s: this field occurs twice, remove one" % name)
            keys.add(key)
            if self._skip_blanks() != 0x3A:
                self._fail_syntax()
            self._at += 1
            self._value(name, depth + 1)
            if not self._has_next(0x7D):
                return

    def _array(self, path, depth):
        self._at += 1
        if self._skip_blanks() == 0x5D:
            self._at += 1
            return
        n = 0
        while True:
            self._value("%s[%d]" % (path, n), depth + 1)
            n += 1
            if not self._has_next(0x5D):
                return

    def _has_next(self, end):
        """Read a comma, or the bracket `end`; returns True after a comma."""
        c = self._skip_blanks()
        if c != end and c != 0x2C:
            self._fail_syntax()
        self._at += 1
        return c == 0x2C

    def _decode(self, start):
        import json

        return json.loads(self._data[start : self._at])

    def _string(self, path):
        """Read a string, from its first quote to its last one."""
        data = self._data
        self._at += 1
        while True:
            c = data[self._at] if self._at < len(data) else 0x0A
            if c == 0x22:
                self._at += 1
                return
            if c == 0x0A:  # the end of the line: the last quote is missing
                self._fail_syntax()
            self._check_character(path, c)
            if c == 0x5C:
                self._at += 1
                c = data[self._at] if self._at < len(data) else 0
                if c == 0x75:
                    self._unicode(path)
                    continue
                if c not in _ESCAPES:
                    self._fail_syntax()
                if c in b"bfnrt":
                    self._check_character(path, 0x0A)
            elif c == 0xED and self._at + 1 < len(data) and data[self._at + 1] > 0x9F:
                _fail_surrogate(path)
            self._at += 1

    def _unicode(self, path):
        """Read the escape of a character; `_at` is the offset of its `u`."""
        c = self._hex(self._at + 1)
        self._check_character(path, c)
        self._at += 5
        if not 0xD800 <= c < 0xE000:
            return
        low = self._hex(self._at + 2) if self._data[self._at : self._at + 2] == b"\\u" else 0
        if c >= 0xDC00 or not 0xDC00 <= low < 0xE000:
            _fail_surrogate(path)
        self.pairs.append((self._at - 6, 0x10000 + (c - 0xD800 << 10) + low - 0xDC00))
        self._at += 6

    def _hex(self, at):
        digits = self._data[at : at + 4]
        for c in digits:
            if c not in b"0123456789abcdefABCDEF":
                digits = b""
        if len(digits) < 4:
            self._fail_syntax()
        return int(digits, 16)

    def _check_character(self, path, c):
        if c < 32 or c == 127:
            kind = "NUL" if not c else "a control character"
            raise ValueError("%s: contains %s, remove it" % (path or "the name of a field", kind))

    def _word(self, path):
        """Read a number, true, false or null."""
        start = self._at
        data = self._data
        while self._at < len(data) and data[self._at] not in b' \t\r\n,:]}[{"':
            self._at += 1
        word = data[start : self._at]
        if word in (b"true", b"false", b"null"):
            return
        if word.lower().replace(b"+", b"").replace(b"-", b"") in (b"nan", b"infinity", b"inf"):
            raise ValueError("%s: %s, expected a number" % (path, str(word, "utf-8")))
        if not _is_number(word):
            self._at = start
            self._fail_syntax()
        value = float(word)
        if value - value != 0:
            raise ValueError("%s: %s is too large" % (path, str(word, "utf-8")))


def _is_number(word):
    """Return True if the word is a number as JSON defines it."""
    word = word[1:] if word[:1] == b"-" else word
    mantissa, e, exponent = word.lower().partition(b"e")
    whole, point, fraction = mantissa.partition(b".")
    if e and not (exponent[1:] if exponent[:1] in (b"+", b"-") else exponent).isdigit():
        return False
    if not whole.isdigit() or (point and not fraction.isdigit()):
        return False
    return whole == b"0" or whole[:1] != b"0"


def _fail_surrogate(path):
    raise ValueError("%s: contains half of a character (a lone surrogate)" % (path or "the name of a field"))


def check(data):
    """Check the bytes of a JSON text; returns them, with pairs of escapes replaced by their characters.

    Raises ValueError; its text is one line that names the field or the line.
    """
    if data[:3] == b"\xef\xbb\xbf":
        raise ValueError("begins with a byte order mark: save it as UTF-8 without BOM")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError("is UTF-16: save it as UTF-8")
    at = data.find(b"\0")
    if at >= 0:
        raise ValueError("contains NUL in line %d, remove it" % (data[:at].count(b"\n") + 1))
    scanner = _Scanner(data)
    scanner.scan()
    try:
        str(data, "utf-8")
    except UnicodeError:
        raise ValueError("not UTF-8: save it as UTF-8")
    for at, code in reversed(scanner.pairs):
        data = data[:at] + chr(code).encode() + data[at + 12 :]
    return data
