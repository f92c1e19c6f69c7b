"""Checks the clock of this computer against a web server or an NTP server: a wrong clock breaks TLS."""

from __future__ import annotations

import contextlib
import http.client
import platform
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

import ntplib

from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Finding

_TIMEOUT = 3  # seconds
_WARN_ABOVE, _FAIL_ABOVE = 5, 300  # seconds of difference
_SET_CLOCK = {
    "Linux": "sudo timedatectl set-ntp true",
    "Darwin": "sudo sntp -sS time.apple.com",
    "Windows": "w32tm /resync",
}
# plain HTTP, because a TLS handshake would fail if the clock is wrong
_WEB_SERVER, _TIME_SERVER = ("micropython.org", 80), ("pool.ntp.org", 123)


def check_clock(context: CheckContext) -> Iterator[Finding]:
    """Compare the clock with the first server that answers."""
    yield compare_clock(
        {
            f"HTTP of {_WEB_SERVER[0]}": lambda: time_from_http(*_WEB_SERVER),
            f"NTP of {_TIME_SERVER[0]}": lambda: time_from_ntp(*_TIME_SERVER),
        }
    )


def compare_clock(sources: dict[str, Callable[[], float]], now: Callable[[], float] = time.time) -> Finding:
    """Compare the clock `now` with the first of `sources` that answers.

    A source returns seconds since 1970, like `now`. The finding contains its name.
    """
    for source, get_time in sources.items():
        with contextlib.suppress(
            OSError, ValueError, TypeError, http.client.HTTPException, ntplib.NTPException
        ):
            difference = now() - get_time()
            direction = "ahead" if difference > 0 else "behind"
            text = f"{abs(difference):.0f} s {direction}" if abs(difference) >= 1 else "correct"
            level = OK
            if abs(difference) > _WARN_ABOVE:
                level = ERROR if abs(difference) > _FAIL_ABOVE else WARNING
            remedy = "" if level == OK else _SET_CLOCK.get(platform.system(), "set the clock")
            return Finding(level, "clock", f"{text}, compared with {source}", remedy)
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now()))
    message = f"shows {shown}; not verified, because no time server answered"
    return Finding(WARNING, "clock", message, "compare it with a watch")


def time_from_http(host: str, port: int = 80) -> float:
    """Return the time of a web server in seconds since 1970, from the Date header; resolution 1 s.

    Raises OSError, HTTPException, ValueError or TypeError.
    """
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
    finally:
        connection.close()
    return parsedate_to_datetime(date or "").timestamp() + 0.5  # the middle of the second


def time_from_ntp(host: str, port: int = 123) -> float:
    """Return the time of an NTP server in seconds since 1970. Raises OSError or NTPException."""
    response = ntplib.NTPClient().request(host, version=4, port=port, timeout=_TIMEOUT)
    return time.time() + float(response.offset)
