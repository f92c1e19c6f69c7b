"""Which application runs: the one that came by the cable, or one that came over the air.

An update lies in a folder of its own, `a` or `b`, with all its files. The file `slot` is one line,

    <folder in use> <folder before> <tries>

where `.` is what the cable has put there, and `tries` how often the new one was started: `-` where it
is confirmed, `!` where the folder before was tried and given up. The line is renamed into place, so
that a power cut leaves the old choice or the new one.
"""

import os
import sys

CONFIRMED = -1
GIVEN_UP = -2
TRIES = 3

_WORDS = {"-": CONFIRMED, "!": GIVEN_UP}


def read():
    """(folder in use, folder before, tries)."""
    for path in ("slot", "slot.new"):  # the new one where FAT has lost its power between the two
        try:
            with open(path) as file:
                current, before, tries = file.read(32).split()
            return current, before, _WORDS[tries] if tries in _WORDS else int(tries)
        except (OSError, ValueError):
            pass
    return ".", ".", CONFIRMED


def write(current, before, tries):
    """Choose. Raises OSError, and nothing is changed then."""
    word = {CONFIRMED: "-", GIVEN_UP: "!"}.get(tries, tries)
    with open("slot.new", "w") as file:
        file.write("%s %s %s\n" % (current, before, word))
    try:
        os.rename("slot.new", "slot")
    except OSError:  # FAT renames over no file
        os.remove("slot")
        os.rename("slot.new", "slot")


def version(folder):
    """The number of the update in a folder; 0 for what has none."""
    try:
        with open(folder + "/version") as file:
            return int(file.read(12))
    except (OSError, ValueError):
        return 0


def choose():
    """At the start: count it where it is a try, go back after too many, and look in the folder first."""
    current, before, tries = read()
    try:
        if tries >= TRIES:
            back()
            current = before
        elif tries >= 0:
            write(current, before, tries + 1)
    except OSError as error:
        print("slot: %s" % error)
    if current != ".":
        sys.path.insert(0, current)


def back():
    """From now on what was before, confirmed as it was. Raises OSError."""
    current, before, _ = read()
    write(before, current, GIVEN_UP)
    try:
        os.remove("starts")  # the crashes were those of the other
    except OSError:
        pass
