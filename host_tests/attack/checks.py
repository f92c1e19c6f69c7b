"""What must be true after an attacked command has ended."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping

from host_tests.attack.hostile_text import BIDI, MARK
from host_tests.attack.terminal import Run
from tools.exit_codes import EXIT_CODES

# what rich writes: styles, cursor movements, clearing of lines, showing and hiding of the cursor
_OWN_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[mABCDGHJK]|\x1b\[\?25[lh]")
# what Textual writes in addition: modes, keyboard protocols, queries, the shape of the mouse pointer
_TEXTUAL_SEQUENCE = re.compile(
    r"\x1b\[[?<>=]?[0-9;]*[ $]?[a-zA-Z]|\x1b[78=>]|\x1b\]22;[a-z]*(?:\x1b\\|\x07)|\x1bP=[12]s\x1b\\"
)
_ANY_STRING = re.compile(r"\x1b[\]P_^X][^\x07\x1b]*|[\x90\x98\x9d\x9e\x9f][^\x07\x1b\x9c]*")
_BIDI = {character for character in BIDI if not character.isalpha()} | {"\u2028", "\u2029"}
_SIGNALS = {
    -signal.SIGHUP,
    -signal.SIGINT,
    -signal.SIGTERM,
}  # exit codes of a process that a signal has ended
_TRACEBACKS = (
    "Traceback (most recent call last)",
    "Traceback (innermost last)",
    "Exception in thread",
    "Exception ignored in",
    "Exception in ASGI",
    "Segmentation fault",
)


def find_faults(
    run: Run,
    before: Mapping[str, str],
    after: Mapping[str, str],
    *,
    uses_textual: bool = False,
    shows_tracebacks_of_boards: bool = False,
    secrets: Iterable[str] = (),
    codes: Iterable[int] = EXIT_CODES,
) -> list[str]:
    """Return a line for each thing that is wrong with a run.

    `before` and `after` are snapshots of the sandbox, `codes` the allowed exit codes.
    """
    text = run.output.decode(errors="replace")
    faults = [*_changed_files(before, after), *_terminal_faults(text, uses_textual)]
    if run.code is None:
        faults.append(f"did not end within {run.seconds:.0f} s")
    elif (128 - run.code if run.code in _SIGNALS else run.code) not in codes:  # as a shell reports it
        faults.append(f"exit code {run.code}, which is not documented")
    if not shows_tracebacks_of_boards:
        faults += [f"printed {sign!r}" for sign in _TRACEBACKS if sign in text]
    faults += [f"printed the secret {secret!r}" for secret in secrets if secret in text]
    return faults


def _changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return [
        f"{path}: {before.get(path, 'absent')} became {after.get(path, 'absent')}"
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def _terminal_faults(text: str, uses_textual: bool) -> list[str]:
    faults = []
    for found in _ANY_STRING.finditer(text):
        if MARK in found[0] or "T1dORUQ=" in found[0]:
            faults.append(f"wrote the control sequence {found[0]!r}")
    rest = _OWN_SEQUENCE.sub("", text)
    if uses_textual:
        rest = _TEXTUAL_SEQUENCE.sub("", rest)
    controls = {c for c in rest if (ord(c) < 32 and c not in "\t\r\n") or 0x7F <= ord(c) < 0xA0 or c in _BIDI}
    # Ctrl-C is echoed as ^C; a bell or a backspace belongs to nothing that we print
    if controls:
        faults.append(f"wrote the control characters {sorted(controls)!r}")
    return faults
