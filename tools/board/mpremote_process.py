"""mpremote with deadlines, for boards whose watchdog runs. `tools.board.mpremote` starts it as a process.

    python -m tools.board.mpremote_process [--total=SECONDS] [--execute=SECONDS] [--doing=TEXT]
        [--interactive] ARGUMENT...

The arguments are those of mpremote. `--doing` says in an error what was being done. Each exchange with the
board has a deadline. The watchdog of the board is fed at the start and then at least once per
`_FEED_INTERVAL`, between two statements. Unless --interactive is given, the process ends when its standard
input is closed: so it does not outlive a command that is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from mpremote import main as mpremote_main
from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from tools.board.exchange import Exchanges, guard_port
from tools.deadlines import COPY, EXECUTE, OPEN, PROMPT, DeadlineError

ERROR = "error: "  # begins the line with the error
_FEED_INTERVAL = 1  # seconds; watchdogs have 8 s
_INTERRUPT_INTERVAL = 0.5  # seconds
_QUIET = 0.1  # seconds without data after which nothing more is expected
_OPEN_INTERVAL = 0.2  # seconds
_NO_ACCESS = (
    "another program uses the port, or the board is unplugged. Close it, or plug the board in, then try again"
)
_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_FEED_SCRIPT = Path(__file__).parent / "on_board" / "feed_watchdog.py"
_COPIES = {"fs_writefile": "copying {}", "fs_readfile": "reading {}"}
_OTHERS = {"fs_rmfile": "removing {}", "fs_rmdir": "removing {}", "fs_listdir": "listing the files in {}"}


class Session:
    """The connection of one process with one board. `patch` makes mpremote use it."""

    def __init__(self, exchanges: Exchanges, execute: float) -> None:
        self.exchanges = exchanges
        self._execute = execute  # seconds for one statement
        self._fed_at = -math.inf
        self._is_feeding = False
        self._has_feed = False  # whether `feed_watchdog` is defined on the board

    def patch(self) -> None:
        """Replace the methods of mpremote that talk to the board."""
        original = {name: getattr(SerialTransport, name) for name in dir(SerialTransport) if name[0] != "_"}
        open_port = SerialTransport.__init__

        def init(transport: Any, device: str, *args: Any, **options: Any) -> None:
            self._open(lambda: open_port(transport, device, *args, **options))
            guard_port(transport.serial, self.exchanges, is_patient=True)

        def enter_raw_repl(transport: Any, soft_reset: bool = True, **options: Any) -> None:
            self._take(transport, original["enter_raw_repl"])
            if soft_reset:
                self._has_feed = False
                with self.exchanges.exchange("restarting MicroPython", PROMPT):
                    original["enter_raw_repl"](transport, soft_reset=True)
                self._define_feed(transport)

        def exec_raw_no_follow(transport: Any, command: Any) -> None:
            self._feed(transport)
            with self.exchanges.exchange("sending a program", EXECUTE):
                original["exec_raw_no_follow"](transport, command)

        def follow(transport: Any, timeout: float | None, data_consumer: Any = None) -> Any:
            with self.exchanges.exchange("waiting for the end of a program", self._execute):
                return original["follow"](transport, None, data_consumer)

        def mount_local(transport: Any, path: str, **options: Any) -> None:
            inner = transport.serial
            with self.exchanges.exchange("mounting a folder"):
                original["mount_local"](transport, path, **options)
            inner.timeout = 0.1  # mpremote has changed it

        SerialTransport.__init__ = init
        for function in (enter_raw_repl, exec_raw_no_follow, follow, mount_local):
            setattr(SerialTransport, function.__name__, function)
        for name, doing in (*_COPIES.items(), *_OTHERS.items()):
            seconds = COPY if name in _COPIES else math.inf
            setattr(SerialTransport, name, self._describe(original[name], doing, seconds))

    def _open(self, open_port: Callable[[], None]) -> None:
        """Open the port. The process of a killed command may still have it: retry."""
        ends = time.monotonic() + OPEN
        while True:
            try:
                open_port()
                return
            except TransportError:
                if time.monotonic() > ends:
                    self.exchanges.fail(_NO_ACCESS)
                time.sleep(_OPEN_INTERVAL)

    def _take(self, transport: Any, enter_raw_repl: Callable[..., None]) -> None:
        """Stop the program and feed the watchdog. It may reset the board before: then try once more."""
        for is_last in (False, True):
            try:
                doing = "stopping the program and waiting for the prompt"
                with self.exchanges.exchange(doing, PROMPT / 2):
                    self._interrupt(transport)
                    enter_raw_repl(transport, soft_reset=False)
                    self._define_feed(transport)
                return
            except (DeadlineError, TransportError):
                if is_last:
                    raise
                self.exchanges.retry()

    def _describe(self, method: Callable[..., Any], doing: str, seconds: float) -> Callable[..., Any]:
        def call(transport: Any, path: str = "", *args: Any, **options: Any) -> Any:
            with self.exchanges.exchange(doing.format(path or "/"), seconds):
                return method(transport, path, *args, **options)

        return call

    def _interrupt(self, transport: Any) -> None:
        """Stop the program: repeat Ctrl-C until MicroPython shows the raw REPL, then discard its output."""
        port = transport.serial
        data = b""
        sent_at = -math.inf
        interrupt = b"\r\x03"
        while _BANNER not in data:
            if time.monotonic() - sent_at > _INTERRUPT_INTERVAL:
                port.write(interrupt + b"\r\x01")
                sent_at = time.monotonic()
                interrupt = b"\r\x03\x03"  # the first Ctrl-C may only have ended an input
            data = (data + self._read(port))[-4096:]
        quiet_at = time.monotonic() + _QUIET
        while time.monotonic() < quiet_at:
            if self._read(port):
                quiet_at = time.monotonic() + _QUIET

    @staticmethod
    def _read(port: Any) -> bytes:
        waiting = port.in_waiting
        if waiting:
            return bytes(port.read(waiting))
        time.sleep(0.01)
        return b""

    def _define_feed(self, transport: Any) -> None:
        self._is_feeding = True
        try:
            with self.exchanges.exchange("feeding the watchdog", EXECUTE):
                transport.exec(_feed_script())
            self._fed_at = time.monotonic()
            self._has_feed = True
        finally:
            self._is_feeding = False

    def _feed(self, transport: Any) -> None:
        """Feed the watchdog if this is due."""
        if self._is_feeding or not self._has_feed or time.monotonic() - self._fed_at < _FEED_INTERVAL:
            return
        self._is_feeding = True
        try:
            with self.exchanges.exchange("feeding the watchdog", EXECUTE):
                transport.exec("feed_watchdog()")
            self._fed_at = time.monotonic()
        finally:
            self._is_feeding = False


def _feed_script() -> str:
    """Return the script without its docstring, which the board does not need."""
    return re.sub(r'\A""".*?"""\n', "", _FEED_SCRIPT.read_text(encoding="utf-8"), flags=re.DOTALL)


def _end_with_input() -> None:
    """End the process when its standard input is closed."""

    def wait() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 4096):  # sys.stdin has a lock, for which the end of the process would wait
                pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> NoReturn:
    """Run mpremote with the arguments in sys.argv, and end the process with its exit code."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--total", type=float, default=math.inf)
    parser.add_argument("--execute", type=float, default=EXECUTE)
    parser.add_argument("--doing", default="")
    parser.add_argument("--interactive", action="store_true")
    count = next(i for i, word in enumerate(sys.argv[1:], 1) if not word.startswith("--"))
    options = parser.parse_args(sys.argv[1:count])
    sys.argv[1:] = sys.argv[count:]
    exchanges = Exchanges(options.total)
    code: int | None
    Session(exchanges, math.inf if options.interactive else options.execute).patch()
    if not options.interactive:
        _end_with_input()
    try:
        with exchanges.exchange(options.doing):
            code = mpremote_main.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception as error:  # also what mpremote raises if the board sends nonsense
        code = 1
        if not exchanges.failure:
            _print_error(options.interactive, _explain(error, exchanges.doing))
    if exchanges.failure:
        code = 1
        _print_error(options.interactive, str(exchanges.failure))
    sys.stdout.flush()
    os._exit(code or 0)  # nothing else may wait for the port, such as the thread that reads standard input


def _explain(error: BaseException, doing: str) -> str:
    if isinstance(error, OSError):
        return f"the board was unplugged or restarted while {doing}: {error}. Plug it in, then try again"
    lines = str(error).strip().splitlines()  # of a traceback of the board, the last line is the error
    return f"{lines[-1] if lines else type(error).__name__}, while {doing}"


def _print_error(is_interactive: bool, text: str) -> None:
    sys.stdout.flush()
    if is_interactive:
        print(f"\n{sys.argv[2]}: {text}", file=sys.stderr, flush=True)
    else:
        print(f"{ERROR}{text}", flush=True)


if __name__ == "__main__":
    main()
