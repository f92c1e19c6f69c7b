"""Sets the clock of a board by NTP. TLS needs the time, because certificates have dates."""

import sys
import time


def set_clock() -> None:
    """Ask a time server, until it answers. Raises OSError after ten tries. On a computer, do nothing."""
    if sys.platform in ("linux", "darwin", "win32"):
        return
    for _ in range(10):
        try:
            __import__("ntptime").settime()  # part of the firmware of ESP32 and RP2
            return
        except OSError:
            time.sleep(1)
    raise OSError("no time server answered")
