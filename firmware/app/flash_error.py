"""Reports that a file cannot be used; the device runs without the file."""

_reported: list = []  # paths that have been reported since the start


def report(path, error, effect):
    """Print once per path that a file cannot be used: the error, and the effect on the device."""
    if path not in _reported:
        _reported.append(path)
        print("%s: %s; %s" % (path, error or type(error).__name__, effect))
