"""A board that lies: it speaks the raw REPL of MicroPython on a serial port, but answers as it likes.

A persona is the list of its lies. In everything else it answers like an ESP32 with an empty filesystem, so
that a command comes as far as possible.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from host_tests.attack.hostile_text import (
    BIDI,
    C1,
    CONTROLS,
    LONG,
    MARKUP,
    OSC_CLIPBOARD,
    OSC_LINK,
    OSC_TITLE,
    PATHS,
    TERMINAL_TEXTS,
)

_RAW = b"raw REPL; CTRL-B to exit\r\n>"
_FRIENDLY = b'\r\nMicroPython v1.29.0 on 2026-01-01; Generic ESP32 module\r\nType "help()"\r\n>>> '
_MPY = 6  # version of the .mpy files that MicroPython 1.29 loads
_CHUNK = 4096  # bytes

Answer = bytes | Callable[[str], bytes]

# the part of a script by which it is recognized; the first one that fits
_KINDS = {
    "identify": "def family",
    "hashes": "def digest",
    "config": "def show(word",
    "info": "_machine",
    "list": "ilistdir",
    "stat": "os.stat(",
    "read": "repr(r(",
    "space": "statvfs",
    "remote": "RemoteFS",
    "verify": ".rename(",
}


def _config_lines(raw: bytes) -> bytes:
    """Return what `read_config.py` prints for a config.json with these bytes."""
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.dumps(json.loads(raw)).encode()
        return b"raw %s\r\njson %s\r\n" % (raw.hex().encode(), parsed.hex().encode())
    return b"raw %s\r\n" % raw.hex().encode()


_HONEST: dict[str, Answer] = {
    "identify": b"board esp32 ESP32_GENERIC\r\n",
    "hashes": b"mpy %d\r\n" % _MPY,
    "config": b"absent\r\n",
    "info": (
        json.dumps(
            {
                "version": [1, 29, 0],
                "mpy": _MPY,
                "machine": "Generic ESP32 module",
                "build": "ESP32_GENERIC",
                "year": 2026,
                "time": [2026, 1, 1, 0, 0, 0],
            }
        ).encode()
        + b"\r\n"
    ),
    "stat": b"(32768, 0, 0, 0, 0, 0, 10, 0, 0, 0)\r\n",
    "read": b"b''\r\n",
    "remote": b"False\r\n",
}


@dataclass(frozen=True)
class Persona:
    """How a board lies."""

    answers: Mapping[str, Answer] = field(default_factory=dict)  # by kind of script
    error: bytes = b""  # the traceback of every script
    startup: bytes = b""  # printed after a soft reset, and all the time if `talks`
    talks: bool = False
    is_silent: bool = False
    ends_after: int | None = None  # bytes sent until the port disappears
    ignores_end: bool = False  # never ends an answer


def _config(config: object) -> Persona:
    raw = config if isinstance(config, bytes) else json.dumps(config).encode()
    return Persona({"config": _config_lines(raw)})


def _device(**fields: object) -> dict[str, object]:
    return {"device": "dut", "broker": {"host": "127.0.0.1"}, "wifi": {"ssid": "home"}, **fields}


def _tls(**files: object) -> dict[str, object]:
    return _device(broker={"host": "127.0.0.1", "tls": files})


_EVIL = "".join(TERMINAL_TEXTS)
_EVIL_BYTES = _EVIL.encode(errors="surrogatepass") + b"\xff\xfe\x80"
_NAMES = [*TERMINAL_TEXTS, *PATHS, "\x00", "name\nfile ['/etc/passwd', '00']", "\ud800"]
_DIRECTORY = b"".join(repr((name, 0x8000, 0, 2**62)).encode(errors="replace") + b"," for name in _NAMES)
_INFO = {"version": [1, 29, 0], "mpy": _MPY, "machine": _EVIL, "build": _EVIL, "year": 2026, "time": []}

PERSONAS: dict[str, Persona] = {
    "empty": Persona(),
    "silent": Persona(is_silent=True),
    "escape sequences after a reset": Persona(startup=_EVIL_BYTES * 3 + b": connected to x\r\n"),
    "escape sequences all the time": Persona(startup=_EVIL_BYTES, talks=True),
    "traceback with escape sequences": Persona(
        error=b'Traceback (most recent call last):\r\n  File "'
        + _EVIL_BYTES
        + b'", line 1\r\nOSError: '
        + _EVIL_BYTES
    ),
    "escape sequences in every answer": Persona(dict.fromkeys([*_KINDS, "other"], _EVIL_BYTES)),
    "garbage in every answer": Persona(dict.fromkeys([*_KINDS, "other"], bytes(range(5, 256)))),
    "numbers out of range": Persona(
        {
            "identify": b"board 7e999 -1 7e999\r\n",
            "hashes": b"mpy 7e999\r\nfile [1e999, NaN]\r\n",
            "info": json.dumps(
                {"version": [1e400, -1], "mpy": 1e400, "machine": 1, "build": [], "year": 1e400, "time": {}}
            ).encode()
            + b"\r\n",
            "stat": b"(1e999,)\r\n",
        }
    ),
    "wrong types": Persona(
        {
            "identify": b"board\r\nboard a\r\n",
            "hashes": b'mpy 6\r\nfile {}\r\nfile [[], {}]\r\nfile "x"\r\n',
            "info": b"[]\r\n",
            "config": b"raw zz\r\njson 00\r\n",
            "stat": b"[]\r\n",
            "list": b"7,",
            "read": b"{}\r\n",
        }
    ),
    "deep nesting": Persona(
        {
            "hashes": b"mpy 6\r\nfile " + b"[" * 100000 + b"\r\n",
            "info": b"[" * 100000 + b"\r\n",
            "config": _config_lines(b'{"device":' + b"[" * 100000),
            "list": b"(" * 3000,
            "stat": b"(" * 3000 + b"\r\n",
        }
    ),
    "gigantic answers": Persona(dict.fromkeys([*_KINDS, "other"], b"x" * 20_000_000)),
    "answers without end": Persona(dict.fromkeys([*_KINDS, "other"], b"file x\r\n"), ignores_end=True),
    "file names": Persona(
        {
            "list": _DIRECTORY,
            "hashes": b"mpy 6\r\n"
            + b"".join(
                b"file " + json.dumps([root + name, "0" * 64]).encode() + b"\r\n"
                for name in _NAMES
                for root in ("", "lib/", "/")
            ),
        }
    ),
    "lies about hashes": Persona(
        {"hashes": b"mpy 6\r\nfile " + json.dumps(["main.py", "0" * 64]).encode() + b"\r\n"}
    ),
    "other board": Persona({"identify": b"board rp2 RPI_PICO_W\r\n"}),
    "other platform": Persona({"identify": b"board linux " + OSC_TITLE.encode() + b"\r\n"}),
    "other mpy version": Persona({"hashes": b"mpy 4\r\n"}),
    "build with escape sequences": Persona({"info": json.dumps(_INFO).encode() + b"\r\n"}),
    "config that cannot be read": Persona({"config": b"error " + _EVIL_BYTES + b"\r\n"}),
    "config is a list": _config([1, 2]),
    "config is not UTF-8": _config(b'{"device": "\xff\xfe"}'),
    "config is UTF-16": _config('{"device": "x"}'.encode("utf-16")),
    "config has duplicate keys": _config(b'{"device": "a", "device": "b"}'),
    "config has infinite numbers": _config(b'{"device": "a", "health": 7e999, "reset_after": NaN}'),
    "config with escape sequences": _config(_device(device=_EVIL, prefix=_EVIL, extra=_EVIL)),
    "config with markup": _config(_device(device=MARKUP, prefix=MARKUP)),
    "config with wrong types": _config(
        {"device": {}, "broker": [], "wifi": 7, "sensors": {}, "actuators": 1}
    ),
    "config of the wrong sensors": _config(_device(sensors=[{"kind": "../../os"}, {"kind": "os.path"}, 1])),
    "CA is an absolute path": Persona(
        {
            "config": _config_lines(json.dumps(_tls(ca="/tmp/owned", cert="C:\\x", key="CON")).encode()),
            "read": lambda code: b"b'OWNED'\r\n",
        }
    ),
    "certificate with a hostile content": Persona(
        {
            "config": _config_lines(json.dumps(_tls(ca="ca.pem", cert="cert.pem", key="key.pem")).encode()),
            "stat": b"(32768, 0, 0, 0, 0, 0, 4611686018427387904, 0, 0, 0)\r\n",
            "read": b"b'-----BEGIN CERTIFICATE-----\\x1b]0;OWNED\\x07'\r\n",
        }
    ),
    "unplugged at once": Persona(ends_after=20),
    "unplugged in the middle": Persona(ends_after=700),
    "unplugged late": Persona(ends_after=1200),
}

for _number, _path in enumerate(PATHS):
    PERSONAS[f"CA is named by path {_number}"] = _config(_tls(ca=_path))

# pieces of output for a board that answers at random: see `random_persona`
PIECES = (
    *(text.encode(errors="replace") for text in (OSC_TITLE, OSC_CLIPBOARD, OSC_LINK, C1, BIDI, MARKUP)),
    CONTROLS.encode(),
    LONG.encode(),
    b"board esp32 ESP32_GENERIC\r\n",
    b"mpy 6\r\n",
    b'file ["main.py", "00"]\r\n',
    b"absent\r\n",
    b"raw 7b7d\r\n",
    b"json 7b7d\r\n",
    b"error x\r\n",
    b"{}\r\n",
    b"\x04",
    b"\x04\x04>",
    b">>> ",
    b"MPY: soft reboot\r\n",
    b"\x18\x02",
    b"\x00",
    b"\xff",
    b"\r\n",
)


def random_persona(choice: Callable[[int], int]) -> Persona:
    """Return a persona with random answers. `choice(n)` returns a random number below n."""
    answers: dict[str, Answer] = {}
    for kind in [*_KINDS, "other"]:
        if choice(3) == 0:
            answers[kind] = b"".join(PIECES[choice(len(PIECES))] for _ in range(choice(8)))
    ends = choice(3000) if choice(4) == 0 else None
    startup = PIECES[choice(len(PIECES))] * choice(4)
    return Persona(answers, startup=startup, ends_after=ends)


class HostileBoard:
    """A serial port with a board of a persona. `port` is the path of the port."""

    def __init__(self, persona: Persona, port: Path) -> None:
        self.port = port
        self._persona = persona
        self._sent = 0
        self._board_end, self._port_end = os.openpty()
        tty.setraw(self._port_end)
        port.symlink_to(os.ttyname(self._port_end))
        self._stop = threading.Event()
        self._in_raw_repl = False
        self._code = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unplug the board."""
        self._stop.set()
        self._thread.join(10)
        self._unplug()

    def _unplug(self) -> None:
        self.port.unlink(missing_ok=True)
        for end in (self._board_end, self._port_end):
            with contextlib.suppress(OSError):
                os.close(end)
        self._board_end = self._port_end = -1

    def _run(self) -> None:
        last_talk = 0.0
        with contextlib.suppress(OSError, ConnectionError):
            while not self._stop.is_set():
                if self._persona.talks and time.monotonic() - last_talk > 0.2:
                    last_talk = time.monotonic()
                    self._write(self._persona.startup)
                if not select.select([self._board_end], [], [], 0.05)[0]:
                    continue
                data = os.read(self._board_end, 65536)
                if not self._persona.is_silent:
                    for byte in data:
                        self._handle(bytes([byte]))
        if self._persona.ends_after is not None and not self._stop.is_set():
            self._unplug()

    def _write(self, data: bytes) -> None:
        """Send data. Raises ConnectionError when the board has to disappear."""
        left = None if self._persona.ends_after is None else self._persona.ends_after - self._sent
        data = data if left is None else data[: max(left, 0)]
        while data and not self._stop.is_set():
            if select.select([], [self._board_end], [], 0.1)[1]:
                count = os.write(self._board_end, data[:_CHUNK])
                self._sent += count
                data = data[count:]
        if left is not None and left <= 0:
            raise ConnectionError

    def _handle(self, byte: bytes) -> None:
        """Handle one byte of input, like the REPL of MicroPython."""
        if byte == b"\x01" and self._code == b"\x05A":  # raw-paste mode, which this board does not have
            self._code = b""
            self._write(b"R\x00")
        elif byte == b"\x01":
            self._in_raw_repl, self._code = True, b""
            self._write(_RAW)
        elif byte == b"\x02":
            self._in_raw_repl, self._code = False, b""
            self._write(_FRIENDLY)
        elif byte == b"\x03":
            self._code = b""
            if not self._in_raw_repl:
                self._write(b"\r\n>>> ")
        elif byte == b"\x04":
            self._handle_end()
        else:
            self._code += byte
            if not self._in_raw_repl and byte == b"\r":
                self._code = b""

    def _handle_end(self) -> None:
        code, self._code = self._code.removeprefix(b"\r"), b""
        if not self._in_raw_repl:
            self._write(b"\r\nMPY: soft reboot\r\n" + self._persona.startup + _FRIENDLY)
        elif not code.strip():
            self._write(b"OK\r\nMPY: soft reboot\r\n" + self._persona.startup + _RAW)
        else:
            self._execute(code.decode(errors="replace"))

    def _execute(self, code: str) -> None:
        kind = next((kind for kind, part in _KINDS.items() if part in code), "other")
        answer = self._persona.answers.get(kind, _HONEST.get(kind, b""))
        self._write(b"OK" + (answer(code) if callable(answer) else answer))
        while self._persona.ignores_end and not self._stop.is_set():
            self._write(b"x\r\n" * 100)
            time.sleep(0.05)
        self._write(b"\x04" + self._persona.error + b"\x04>")


@contextlib.contextmanager
def plugged_in(persona: Persona, port: Path) -> Iterator[HostileBoard]:
    """Plug in a hostile board, and unplug it at the end."""
    board = HostileBoard(persona, port)
    try:
        yield board
    finally:
        board.close()
