"""Handlers and callbacks of the asyncio client, which may be plain functions or coroutine functions.

Whether a function is a coroutine function shows when it has returned a coroutine: MicroPython can't tell
before. `optional.coroutine_handlers` is loaded then.
"""


def get_coroutines(client):
    """Return the `CoroutineHandlers` of an asyncio client."""
    if not client.coroutines:
        from ..optional.coroutine_handlers import CoroutineHandlers

        client.coroutines = CoroutineHandlers(client)
    return client.coroutines


def wrap_handler(client, function, options, responds=False):
    """Return a plain handler that calls `function(message)`. A task runs the coroutine that it may return.

    With `responds` the result of the coroutine is the response to the message.
    """
    if options.get("ack"):
        return get_coroutines(client).wrap_manual(function)
    run = None

    def wrapper(message):
        nonlocal run
        if not run:
            result = function(message)
            if not hasattr(result, "throw"):
                return result
            result.close()  # it has a message that is valid only now
            run = get_coroutines(client).wrap(function, responds)
        run(message)

    return wrapper


def finish_callback(client, result, function, *arguments):
    """Let a task run the coroutine that the callback `function(*arguments)` may have returned."""
    if hasattr(result, "throw"):
        get_coroutines(client).start_callback(result, function, arguments)
