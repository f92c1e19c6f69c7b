"""The record of versions that were rolled back. It is loaded when it is needed.

The file `rolled_back` contains the versions that failed, until a version is confirmed that is not older:

    <highest version that was rolled back> <last version that was rolled back> <reason>
"""

import os

import slot

_MAX_LINE = 200  # characters of `rolled_back`
_MAX_REASON = 120  # characters


def read():
    """Return (highest version, last version, reason) of the versions that were rolled back.

    The versions are 0 if there is none.
    """
    for path in ("rolled_back", "rolled_back.new"):
        try:
            with open(path) as file:
                highest, last, reason = file.read(_MAX_LINE).split("\n")[0].split(" ", 2)
            return slot.parse_number(highest), slot.parse_number(last), reason
        except (OSError, ValueError, MemoryError):
            pass
    return 0, 0, ""


def write(highest, last, reason):
    """Replace the content of `rolled_back`, see `read`. Raises OSError if flash fails."""
    slot.replace("rolled_back", "%d %d %s\n" % (highest, last, reason.replace("\n", " ")[:_MAX_REASON]))


def record(reason):
    """Record that the current version is rolled back. Raises OSError if flash fails.

    `reason` is published; if it is "", it is the last line of `crash.txt`.
    """
    version = slot.read_version(slot.read()[0])
    if not reason:
        try:
            with open("crash.txt") as file:
                reason = file.read(1500).strip().split("\n")[-1].strip()
        except (OSError, ValueError, MemoryError):
            reason = "no successful start"
    write(max(version, read()[0]), version, reason)


def clear():
    """Delete `rolled_back`. Does nothing if flash fails."""
    slot.remove("rolled_back.new")  # first, because `read` uses it if there is no other
    slot.remove("rolled_back")


def find_version(damaged=None):
    """Return the folder of a version to run instead of the one in the folder `damaged`."""
    try:
        os.stat("base_removed")
    except OSError:
        return "."
    versions = [(slot.read_version(folder), folder) for folder in ("a", "b") if folder != damaged]
    versions = [one for one in versions if one[0]]
    # the older version was confirmed once, the newer one perhaps not
    return min(versions)[1] if versions else "."
