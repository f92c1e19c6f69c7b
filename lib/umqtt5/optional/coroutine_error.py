"""Error for a handler or callback that is a coroutine function, where nothing runs its coroutine."""


def refuse(coroutine):
    """Close the coroutine, unless it is None. Raises TypeError."""
    if coroutine:
        coroutine.close()  # otherwise CPython warns that it was never awaited
    raise TypeError(
        "a handler or callback must be a plain function; only umqtt5.aio runs coroutine functions"
    )
