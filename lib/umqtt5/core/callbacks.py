"""Refuses coroutine functions as handlers and callbacks, because nothing would run their coroutines."""


def is_coroutine_function(function):
    """Return True for a coroutine or generator function, as far as it can be told before the call.

    CPython tells by the flags of the code, MicroPython by the type. In MicroPython methods and closures look
    the same, whatever they contain: see `check_result`.
    """
    if type(function).__name__ == "generator":
        return True
    return getattr(getattr(function, "__code__", None), "co_flags", 0) & 0x2A0


def check_result(result):
    """Raise TypeError if a handler or callback has returned a coroutine or a generator."""
    if hasattr(result, "throw"):
        from ..optional.coroutine_error import refuse

        refuse(result)
