"""The exit codes of `python -m tools`."""

from __future__ import annotations

EXIT_CODES = {
    0: "success",
    1: "failure: the last line says what to do",
    2: "wrong usage: an unknown command or option, or a value that an option does not accept",
    129: "ended by SIGHUP, because its terminal was closed",
    130: "ended by Ctrl-C (SIGINT)",
    143: "ended by SIGTERM",
}

# below the help of each command
EPILOG = "Exit codes: 0 success, 1 failure, 2 wrong usage, 130 ended by Ctrl-C. All: docs/exit-codes.md"
