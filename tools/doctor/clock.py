"""This computer's clock: one that is off breaks TLS."""

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

_PATIENCE = 3  # s
_OFF, _WRONG = 5, 300  # s
_SET = {
    "Linux": "sudo timedatectl set-ntp true",
    "Darwin": "sudo sntp -sS time.apple.com",
    "Windows": "w32tm /resync",
}
# asked in turn. Plain HTTP: with TLS a wrong clock would keep us from learning that it is wrong
_SERVERS = (("micropython.org", 80), ("pool.ntp.org", 123))


def check_clock(case: CheckContext) -> Iterator[Finding]:
    """Compared with the first server that answers."""
    (web, web_port), (ntp, ntp_port) = _SERVERS
    yield compare_clock(
        {
            f"HTTP of {web}": lambda: time_from_http(web, web_port),
            f"NTP of {ntp}": lambda: time_from_ntp(ntp, ntp_port),
        }
    )


def compare_clock(sources: dict[str, Callable[[], float]], now: Callable[[], float] = time.time) -> Finding:
    """How far off we are by the first source that tells; a source returns seconds since 1970."""
    for source, ask in sources.items():
        with contextlib.suppress(
            OSError, ValueError, TypeError, http.client.HTTPException, ntplib.NTPException
        ):
            off = now() - ask()
            how = f"{abs(off):.0f} s {'ahead' if off > 0 else 'behind'}" if abs(off) >= 1 else "right"
            level = ERROR if abs(off) > _WRONG else WARNING if abs(off) > _OFF else OK
            remedy = "" if level == OK else _SET.get(platform.system(), "set it")
            return Finding(level, "clock", f"{how}, by {source}", remedy)
    told = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now()))
    return Finding(
        WARNING, "clock", f"says {told}; nobody to compare it with was reached", "compare it with a watch"
    )


def time_from_http(host: str, port: int = 80) -> float:
    """The Date of an answer, to a second. Raises OSError, HTTPException, ValueError, TypeError."""
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
    finally:
        connection.close()
    return parsedate_to_datetime(date or "").timestamp() + 0.5


def time_from_ntp(host: str, port: int = 123) -> float:
    """Raises OSError, NTPException."""
    answer = ntplib.NTPClient().request(host, version=4, port=port, timeout=_PATIENCE)
    return time.time() + float(answer.offset)
