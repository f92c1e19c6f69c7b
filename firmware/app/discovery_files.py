"""Files of Home Assistant discovery messages: the message sent last and the message to send next.

`discovery.sent` contains the message that the broker has acknowledged, `discovery.new` the message to send
next. The first line of each file is the topic, the following lines are the JSON payload.
"""

import os

SENT_FILE = "discovery.sent"
PENDING_FILE = "discovery.new"


def read_topic(path):
    """Return the topic in the first line of a file, None if there is no file."""
    try:
        with open(path) as file:
            return file.readline().rstrip("\n") or None
    except (OSError, ValueError):
        return None


def replace_file(path, target):
    """Rename the file `path` to `target`; an existing `target` is replaced."""
    try:
        os.rename(path, target)
    except OSError:  # FAT does not rename over a file
        os.remove(target)
        os.rename(path, target)
