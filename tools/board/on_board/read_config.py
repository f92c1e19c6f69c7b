"""Script that runs on a board: prints config.json, and what the board's own parser makes of it.

The first word of a line is `absent`, `error` (with the reason), `raw` or `json` (with data in hexadecimal).
"""

import json
from binascii import hexlify


def show(word, data):
    """Print bytes in lines that fit the heap of a small board."""
    for at in range(0, len(data), 128):
        print(word, hexlify(data[at : at + 128]).decode())


def main():
    """Print the lines."""
    try:
        with open("config.json", "rb") as file:
            data = file.read()
    except OSError as error:
        print("absent" if error.errno == 2 else "error %s" % error)
        return
    show("raw", data)
    try:
        show("json", json.dumps(json.loads(data)).encode())
    except (ValueError, MemoryError):
        pass


main()
