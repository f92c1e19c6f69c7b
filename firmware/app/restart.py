"""Restart by command: a message to `<base>/restart/set` restarts the device, also in safe mode.

The response is {"ok": true, "name": "restart"}; after an error, "ok" is false and "error" is added. The file
`restarted` contains the key of the last such command that has an identifier, so that a duplicate does not
restart the device again. `node` loads this module when a command arrives.
"""

import json
from time import ticks_diff, ticks_ms

from micropython import const

from .node.commands import command_key

_PATH = "restarted"
_FLUSH = const(2000)  # ms


def accept(commands, message):
    """Respond to a command to restart; returns True if the device has to restart."""
    error = None
    is_new = True
    try:
        if message.retain:
            raise ValueError("retained commands are not executed")
        if not len(message):  # an empty message is also how a retained command is deleted
            raise ValueError("expected a payload that is not empty, such as restart")
        key = command_key(message, "restart", b"")
        if key and key == _load_key():
            is_new = False
        else:
            commands.check_age(message)
        if key and is_new:
            _save_key(key)
    except ValueError as text:
        error = str(text)
    answer = {"ok": error is None, "name": "restart"}
    if error:
        answer["error"] = error
    print("command to restart: %s" % (error or ("restarting" if is_new else "a duplicate, ignored")))
    commands.respond(message, json.dumps(answer))
    return error is None and is_new


def flush(client):
    """Wait for at most 2 s until the broker has acknowledged all messages, then disconnect."""
    start = ticks_ms()
    while client.is_connected and client.session.outbox.count and ticks_diff(ticks_ms(), start) < _FLUSH:
        client.poll(50)
    client.disconnect()


def _load_key():
    try:
        with open(_PATH, "rb") as file:
            return file.read(64)
    except (OSError, MemoryError):
        return None


def _save_key(key):
    try:
        with open(_PATH, "wb") as file:
            file.write(key)
    except (OSError, MemoryError) as error:
        from .flash_error import report

        report(_PATH, error, "a repeated command would restart the device again")
