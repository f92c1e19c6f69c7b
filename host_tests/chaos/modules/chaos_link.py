"""Link from the VM to the simulated world: messages, the simulated clock, interrupts and the watchdog.

The world runs in another process, see `device.py` in the parent folder. Time passes only in `advance`. The
world says until when nothing will happen (`_horizon`), so most waits need no message.
"""

import gc
import json
import os
import struct
import sys

import micropython

TICKS_MASK = 0x3FFFFFFF
_CHECK_CALLS = 40  # calls of `ticks_ms` after which a millisecond has passed, so that no loop stands still
_REPLY = 20  # bytes of the header of a reply

_file = open(int(os.getenv("CHAOS_FD")), "r+b")
_header = bytearray(_REPLY)
_events = bytearray(2048)  # of a reply; allocated here, because the heap may be full later

now = 0  # simulated ms since the start of the world
ticks_offset = 0
wifi = 0  # 1 if the network is up
_horizon = 0
_calls = 0
_busy = False  # whether `advance` is running, so that an interrupt handler does not call it
_watchdog = 0  # time in ms at which the watchdog resets the chip, 0 if it is not running
_watchdog_ms = 0
handlers: dict = {}  # function(id, data) by kind of event
_result = b""


def send(op, data=b""):
    """Send a message that has no reply."""
    _file.write(struct.pack("<BBHQ", ord(op), 0, len(data), now) + data)


def call(op, data=b""):
    """Send a message, handle the events in the reply, and return the result."""
    global now, wifi, _horizon, _result
    _file.write(struct.pack("<BBHQ", ord(op), 1, len(data), now) + data)
    _file.readinto(_header)
    now, _horizon, wifi, _, size = struct.unpack("<QQBBH", _header)
    _result = b""
    if size:
        _file.readinto(memoryview(_events)[:size])
        _handle(size)
    return _result


def _handle(end):
    global _result
    events = memoryview(_events)
    at = 0
    while at < end:
        kind, number, size = struct.unpack_from("<BHH", events, at)
        data = _copy(events[at + 5 : at + 5 + size])
        at += 5 + size
        if kind == 82:  # R
            _result = data
        else:
            handlers[chr(kind)](number, data)


def _copy(data):
    """Return the data as bytes. On a board they are outside the heap, so the heap is not the limit."""
    try:
        return bytes(data)
    except MemoryError:
        gc.collect()
        return bytes(data)


def end(how):
    """End the run; the world kills the process."""
    call("E", how.encode())
    while True:
        pass


def advance(until):
    """Let time pass until `until`, or until an event; events run interrupt handlers."""
    if _watchdog and until >= _watchdog and not _busy:
        _step(_watchdog)
        if now >= _watchdog:
            end("watchdog")
        return
    _step(until)


def _step(until):
    global now, _busy
    if until <= _horizon or _busy:
        now = max(now, until)
        return
    _busy = True
    try:
        call("w", until.to_bytes(8, "little"))
    finally:
        _busy = False


def sleep_ms(ms):
    until = now + max(0, int(ms))
    while now < until:
        advance(until)


def call_handler(handler, argument, hard):
    """Run an interrupt handler; a hard one cannot allocate."""
    if hard:
        micropython.heap_lock()
    try:
        handler(argument)
    finally:
        if hard:
            micropython.heap_unlock()


def start_watchdog(ms):
    global _watchdog_ms
    _watchdog_ms = ms
    send("d", b"%d" % ms)
    feed()


def feed():
    global _watchdog
    _watchdog = now + _watchdog_ms


def ticks_ms():
    global _calls, now
    _calls += 1
    if _calls >= _CHECK_CALLS:
        _calls = 0
        if now < _horizon:
            now += 1
        elif not _busy:
            advance(now + 1)
    return (now + ticks_offset) & TICKS_MASK


def ticks_diff(a, b):
    return ((a - b + 0x20000000) & TICKS_MASK) - 0x20000000


class Time:
    """The module `time` on the simulated clock, with ticks that wrap at 2**30."""

    clock = 0  # ms from the start of the world to the start of the board's clock; set by `boot`
    ticks_ms = staticmethod(ticks_ms)
    ticks_diff = staticmethod(ticks_diff)
    sleep_ms = staticmethod(sleep_ms)

    @staticmethod
    def ticks_us():
        return (ticks_ms() * 1000) & TICKS_MASK

    ticks_cpu = ticks_us

    @staticmethod
    def ticks_add(a, b):
        if not -0x20000000 < b < 0x20000000:
            raise OverflowError("ticks interval overflow")
        return (a + b) & TICKS_MASK

    @staticmethod
    def time():
        return (now + Time.clock) // 1000

    @staticmethod
    def time_ns():
        return (now + Time.clock) * 1000000

    @staticmethod
    def sleep(seconds):
        sleep_ms(int(seconds * 1000))

    @staticmethod
    def sleep_us(us):
        if us >= 1000:
            sleep_ms(us // 1000)


import time as _time  # noqa: E402

Time.gmtime = staticmethod(_time.gmtime)
Time.localtime = staticmethod(_time.gmtime)
Time.mktime = staticmethod(_time.mktime)


# ---- commands of the world


def _damage(path, how):
    """Replace the content of a file; `how` is garbage, ff, empty, truncated, folder or remove."""
    size = 0
    try:
        size = os.stat(path)[6]
    except OSError:
        pass
    try:
        if how == "truncated":
            with open(path, "rb") as file:
                data = file.read(min(size // 2, 1024))
            with open(path, "wb") as file:
                file.write(data)
            return
        try:
            os.remove(path)
        except OSError:
            pass
        if how == "folder":
            os.mkdir(path)
        elif how != "remove":
            fill = {"ff": b"\xff", "empty": b"", "garbage": b"\x8e\x00\xffg;"}[how]
            with open(path, "wb") as file:
                file.write(fill * 40)
    except OSError as error:
        print("chaos: cannot damage", path, error)


def _fill_flash():
    block = bytes(256)
    try:
        with open("chaos.fill", "ab") as file:
            while True:
                file.write(block)
    except OSError:
        pass


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        try:
            os.rmdir(path)
        except OSError:
            pass


def _report(_=None):
    """Report the free heap and a checksum of config.json."""
    from binascii import crc32

    gc.collect()
    free = gc.mem_free()
    sum = 0
    try:
        with open("/config.json", "rb") as file:
            while True:
                data = file.read(64)
                if not data:
                    break
                sum = crc32(data, sum)
    except OSError as error:
        sum = str(error)
    send("r", json.dumps([free, sum, sys.path[0]]).encode())


def run_command(_, data):
    """Carry out a command of the world: change files, or report."""
    name, *arguments = json.loads(data)
    {"damage": _damage, "fill": _fill_flash, "remove": _remove, "report": _report}[name](*arguments)


handlers["J"] = run_command
