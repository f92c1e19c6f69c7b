"""Program that prints the error of a connection as a traceback: `print_error.py JSON`.

The JSON object has `host`, `port` and other arguments of `Client`. With `poll`, the client first connects and
then polls until it gets an error.
"""

import json
import sys

from umqtt5 import Client

options = json.loads(sys.argv[1])
polls = options.pop("poll", False)
client = Client(options.pop("host"), options.pop("port"), client_id="errors", **options)
told = []
client.on_state = lambda client, connected, error: told.append(error)
client.on_error = print
error = None
try:
    client.connect()
    while polls and client.error is None:
        client.poll(50)
    error = client.error
except Exception as raised:
    error = raised
    assert error is client.error
assert told[-1] is error
if hasattr(sys, "print_exception"):
    sys.print_exception(error, sys.stdout)
else:
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stdout)
print("str", error)
print("number", error.code if hasattr(error, "code") else error.args[0])
print("permanent", client.has_permanent_error)
client.disconnect()
