"""The device: the same file on every board. What differs is in the board's `pins.py`."""

import sys
from time import sleep

import pins
from app import config, node


def main():
    """Run until the power goes. A person at the console ends it with Ctrl-C."""
    try:
        settings = config.load("config.json", pins)
    except config.ConfigError as error:
        # a wrong config does not get better by a restart: say it once and stay
        print(error)
        pins.halt()
        return
    try:
        node.run(settings, pins)
    except Exception as error:
        sys.print_exception(error)
        print("%s: restart in 5 s" % settings["device"])
        sleep(5)
        pins.reset()


main()
