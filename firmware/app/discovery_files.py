"""Files of Home Assistant discovery messages: what was sent to the broker, and what is to be sent.

`discovery.sent` has the message that the broker has acknowledged, `discovery.new` the next one. The first
line of a file is the topic, the rest is the JSON payload.
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
    """Rename the file `path` to `target`, which is replaced."""
    try:
        os.rename(path, target)
    except OSError:  # FAT does not rename over a file
        os.remove(target)
        os.rename(path, target)
