"""The files of announcements: the topic is in the first line, the JSON in the others.

`discovery.sent` is what the broker has, `discovery.new` what it is to have.
"""

import os

SENT_FILE = "discovery.sent"
PENDING_FILE = "discovery.new"


def read_topic(path):
    """The topic in the first line of a file, None where there is none."""
    try:
        with open(path) as file:
            return file.readline().rstrip("\n") or None
    except (OSError, ValueError):
        return None


def replace_file(path, other):
    """Rename a file over another."""
    try:
        os.rename(path, other)
    except OSError:  # FAT does not overwrite
        os.remove(other)
        os.rename(path, other)
