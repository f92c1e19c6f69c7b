"""A/B slots for over-the-air updates: selects the folder to run and rolls back a version that fails to start.

All files of an update are stored in the folder `a` or `b`, as an archive (archive.py). The file `slot`
contains one line:

    <current folder> <previous folder> <tries>

The folder `.` contains the version that was installed by cable. `tries` is the number of starts of a version
that is not confirmed yet; `-` instead of a number means that the version is confirmed, `!` means that the
version in the previous folder was rolled back. A new line is written to `slot.new`, which is then renamed to
`slot`, so after a power cut `read` returns either the old line or the new one.

If flash has no room for three versions, an update removes the one that was installed by cable. It creates the
file `base_removed` first. From then on, a folder with a complete version is used if `slot` cannot be read.

An update over the air does not replace this module, `archive` and `rollback`, so newer applications must be
able to use them.
"""

import os

CONFIRMED = -1
ROLLED_BACK = -2
MAX_DIGITS = 20  # maximum length of a version number
_MAX_TRIES = 3
_WATCHDOG_TIMEOUT = 8000  # ms; the maximum of the RP2040 is 8388 ms

_FOLDERS = ".", "a", "b"
_WORDS = {"-": CONFIRMED, "!": ROLLED_BACK}


has_rolled_back = False  # whether `select` has rolled back a version at this start
_unsaved = None  # the line that is valid until the next start, because flash could not store it
_watchdog = None  # the watchdog that `begin_trial` has started


def read():
    """Return (current folder, previous folder, tries); `tries` may be CONFIRMED or ROLLED_BACK."""
    if _unsaved:
        return _unsaved
    for path in ("slot", "slot.new"):  # on FAT a power cut between remove and rename leaves only slot.new
        try:
            with open(path) as file:
                current, previous, tries = file.read(32).split()
            tries = _WORDS[tries] if tries in _WORDS else parse_number(tries)
        except (OSError, ValueError, MemoryError):
            continue
        if current in _FOLDERS and previous in _FOLDERS and (tries < 0 or "." != current != previous):
            return current, previous, tries
    try:
        os.stat("base_removed")
    except OSError:
        return ".", ".", CONFIRMED
    import rollback

    folder = rollback.find_version()
    return folder, folder, CONFIRMED


def write(folder, previous, tries):
    """Replace the line: `folder` becomes the current folder. Raises OSError if flash fails."""
    global _unsaved
    word = {CONFIRMED: "-", ROLLED_BACK: "!"}.get(tries, tries)
    replace("slot", "%s %s %s\n" % (folder, previous, word))
    _unsaved = None


def save():
    """Write the line that flash could not store at this start, if there is one. Raises OSError."""
    if _unsaved:
        write(*_unsaved)


def replace(path, text):
    """Replace the content of a file; after a power cut it has the old content or the new one."""
    try:
        os.stat(path)
    except OSError:  # after a power cut on FAT the only valid content may be in the new file
        try:
            os.rename(path + ".new", path)
        except OSError:
            pass
    with open(path + ".new", "w") as file:
        file.write(text)
    try:
        os.rename(path + ".new", path)
    except OSError:  # FAT does not rename over a file
        os.remove(path)
        os.rename(path + ".new", path)


def read_version(folder):
    """Return the version number of the update in `folder`, 0 if it has none."""
    try:
        with open(folder + "/version") as file:
            return parse_number(file.read(MAX_DIGITS + 2).strip())
    except (OSError, ValueError, MemoryError):
        return 0


def parse_number(word):
    """Return the number in a str of at most MAX_DIGITS decimal digits. Raises ValueError."""
    if not word.isdigit() or len(word) > MAX_DIGITS:
        raise ValueError(word)
    return int(word)


def select():
    """Put the current folder first in sys.path.

    A version that is not confirmed after three starts is rolled back. If flash fails, the previous version
    runs until the next start. If the version is damaged, another one runs.
    """
    global _unsaved, has_rolled_back
    _unsaved = None
    current, previous, tries = read()
    has_rolled_back = tries >= _MAX_TRIES
    if has_rolled_back:
        try:
            roll_back()
        except (OSError, MemoryError) as error:
            print("slot: %s; the version in %s is not used" % (error, current))
            _unsaved = previous, current, ROLLED_BACK
        current = previous
    if current == ".":
        return
    import archive

    try:
        archive.mount(current)
    except (OSError, MemoryError) as error:
        print("slot: %s; the version in %s is damaged" % (error, current))
        import rollback

        _unsaved = rollback.find_version(current), current, ROLLED_BACK
        archive.mount(_unsaved[0])


def begin_trial():
    """Count this start and start the watchdog if the version is not confirmed; returns True in this case.

    Call this after `select`, before anything is imported that an update can replace. If flash fails, so that
    the start cannot be counted, the previous version runs until the next start.
    """
    global _unsaved, _watchdog
    current, previous, tries = read()
    if tries < 0:
        return False
    try:
        write(current, previous, tries + 1)
    except (OSError, MemoryError) as error:
        print("slot: %s; the version in %s is not tried" % (error, current))
        _unsaved = previous, current, CONFIRMED
        import archive

        archive.mount(previous)
        return False
    remove("crash_count")  # crashes of the previous version do not count
    try:
        _watchdog = __import__("machine").WDT(timeout=_WATCHDOG_TIMEOUT)
    except (ImportError, AttributeError):  # the unix port
        pass
    return True


def forget_start():
    """Do not count this start, because a person has stopped the program."""
    current, previous, tries = read()
    if tries > 0:
        write(current, previous, tries - 1)


def feed():
    """Feed the watchdog if `begin_trial` has started it; returns True in this case."""
    if _watchdog:
        _watchdog.feed()
    return _watchdog is not None


def roll_back(reason=""):
    """Make the previous folder the current one, and record the reason. Raises OSError if flash fails."""
    try:
        import rollback

        rollback.record(reason)
    except Exception as error:  # flash may be full; the line in `slot` is sufficient until the next update
        print("rolled_back: %s" % error)
    current, previous, _ = read()
    write(previous, current, ROLLED_BACK)
    remove("crash_count")  # the crashes were those of the version that is rolled back


def remove(path):
    """Delete a file. Does nothing if it does not exist or flash fails."""
    try:
        os.remove(path)
    except OSError:
        pass
