"""`rp2` as far as firmware uses it."""


def bootsel_button():
    return 0


def country(code=None):
    import network

    return network.country(code)
