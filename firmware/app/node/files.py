"""Files of the device."""

import os


def exists(path):
    """Return True if a file or folder exists; False also if flash fails."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True
