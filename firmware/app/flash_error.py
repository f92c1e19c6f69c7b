"""Errors of flash: a file or a module cannot be read or written; the device goes on without it."""

_reported: list = []  # paths that have been reported since the start


def report(path, error, effect):
    """Print once per path that a file cannot be used: the error, and the effect on the device."""
    if path not in _reported:
        _reported.append(path)
        print("%s: %s; %s" % (path, error or type(error).__name__, effect))


class CatchFlashErrors:
    """Context manager: an OSError or ImportError is reported, and the program continues after the block.

    A module that is loaded when it is needed raises ImportError if flash cannot be read. A restart would not
    repair the flash, but it would switch the outputs. With `except ... as error` the frame of the function
    would be allocated on the heap, at each call.
    """

    def __enter__(self):
        pass

    def __exit__(self, kind, error, _):
        if not isinstance(error, (OSError, ImportError)):
            return False
        report("flash", error, "trying again")
        return True
