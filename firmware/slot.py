"""A/B slots for over-the-air updates: selects the folder to run and rolls back a version that fails to start.

All files of an update are stored in the folder `a` or `b`. The file `slot` contains one line:

    <current folder> <previous folder> <tries>

The folder `.` contains the version that was installed by cable. `tries` is the number of starts of a version
that is not confirmed yet; `-` instead of a number means that the version is confirmed, `!` means that the
version in the previous folder was rolled back. A new line is written to `slot.new`, which is then renamed to
`slot`, so after a power cut `read` returns either the old line or the new one.
"""

import os
import sys

CONFIRMED = -1
ROLLED_BACK = -2
_MAX_TRIES = 3

_WORDS = {"-": CONFIRMED, "!": ROLLED_BACK}


def read():
    """Return (current folder, previous folder, tries); `tries` may be CONFIRMED or ROLLED_BACK."""
    for path in ("slot", "slot.new"):  # on FAT a power cut between remove and rename leaves only slot.new
        try:
            with open(path) as file:
                current, previous, tries = file.read(32).split()
            return current, previous, _WORDS[tries] if tries in _WORDS else int(tries)
        except (OSError, ValueError):
            pass
    return ".", ".", CONFIRMED


def write(folder, previous, tries):
    """Replace the line: `folder` becomes the current folder. Raises OSError if flash fails."""
    word = {CONFIRMED: "-", ROLLED_BACK: "!"}.get(tries, tries)
    with open("slot.new", "w") as file:
        file.write("%s %s %s\n" % (folder, previous, word))
    try:
        os.rename("slot.new", "slot")
    except OSError:  # FAT does not rename over a file
        os.remove("slot")
        os.rename("slot.new", "slot")


def read_version(folder):
    """Return the version number of the update in `folder`, 0 if it has none."""
    try:
        with open(folder + "/version") as file:
            return int(file.read(12))
    except (OSError, ValueError):
        return 0


def select():
    """Put the current folder first in sys.path.

    Counts the starts of an unconfirmed version; after three unsuccessful starts, rolls it back.
    """
    current, previous, tries = read()
    try:
        if tries >= _MAX_TRIES:
            roll_back()
            current = previous
        elif tries >= 0:
            write(current, previous, tries + 1)
    except OSError as error:
        print("slot: %s" % error)
    if current != ".":
        sys.path.insert(0, current)


def roll_back():
    """Make the previous folder the current one. Raises OSError if flash fails."""
    current, previous, _ = read()
    write(previous, current, ROLLED_BACK)
    try:
        os.remove("start_count")  # the failed starts were starts of the version that is rolled back
    except OSError:
        pass
