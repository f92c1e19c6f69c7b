"""`make doctor` checks this computer: packages, disk space, clock. All checks run despite errors."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import ntplib
import pytest

from tools.doctor import clock, computer
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Check, Finding, run_checks


def test_packages_are_compared_with_their_pins(tmp_path: Path) -> None:
    for name in ("demo", "board"):
        (tmp_path / name).touch()  # make creates this file when it has installed a set of packages
    (tmp_path / "demo.txt").write_text(
        f"rich=={version('rich')}\nunknown-package==1 ; python_version < '3'\n"
    )
    (tmp_path / "board.txt").write_text("rich==0.1\nno-such-package==1.0\n")
    (tmp_path / "bench.txt").write_text("not-installed==1.0\n")  # this set is not installed
    good, wrong = computer.compare_packages(tmp_path, tmp_path)
    assert good == Finding(OK, "packages of demo", "1 packages have the pinned versions")
    assert wrong.level == ERROR and "make setup" in wrong.remedy
    assert f"rich {version('rich')} (==0.1 is pinned)" in wrong.message
    assert "no-such-package missing" in wrong.message


def test_low_disk_space_is_reported() -> None:
    assert [computer.rate_disk_space(free).level for free in (10, 400, 40_000)] == [ERROR, WARNING, OK]


# ---- how checks are run


def test_a_failing_or_hanging_check_does_not_stop_the_others() -> None:
    forever = threading.Event()

    def hangs(context: CheckContext) -> Iterator[Finding]:
        yield Finding(OK, "first", "before the hang")
        forever.wait()

    def fails(context: CheckContext) -> Iterator[Finding]:
        raise RuntimeError("test error")

    def works(context: CheckContext) -> Iterator[Finding]:
        yield Finding(OK, "it", "works")

    findings = list(run_checks(CheckContext(), [Check(hangs, 0.2), Check(fails), Check(works)]))
    forever.set()
    assert [(finding.level, finding.subject) for finding in findings] == [
        (OK, "first"),
        (ERROR, "hangs"),
        (ERROR, "fails"),
        (OK, "it"),
    ]
    assert "no answer within 0.2 s" in findings[1].message and findings[2].message == "test error"


# ---- the clock


@pytest.fixture
def http_server() -> Iterator[int]:
    """An HTTP server; yields its port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def time_server() -> Iterator[int]:
    """An NTP server (RFC 5905); yields its UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    request, client = server.recvfrom(256)
                except OSError:
                    return
                now = ntplib.system_to_ntp_time(time.time())
                stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
                header = bytes((0x24, 1, 0, 0xEC)) + bytes(20)
                server.sendto(header + request[40:48] + stamp + stamp, client)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize(("offset", "level"), [(0, OK), (60, WARNING), (-60, WARNING), (90_000, ERROR)])
def test_a_wrong_clock_is_reported(http_server: int, offset: int, level: str) -> None:
    found = clock.compare_clock(
        {"web": lambda: clock.time_from_http("127.0.0.1", http_server)}, lambda: time.time() + offset
    )
    assert found.level == level and "compared with web" in found.message
    if offset:
        assert found.remedy and ("ahead" if offset > 0 else "behind") in found.message


def test_the_next_time_source_is_used_if_one_fails(time_server: int) -> None:
    sources = {
        "web": lambda: clock.time_from_http("127.0.0.1", 1),
        "ntp": lambda: clock.time_from_ntp("127.0.0.1", time_server),
    }
    assert clock.compare_clock(sources).message.endswith("compared with ntp")
    assert clock.compare_clock(sources, lambda: time.time() + 1000).level == ERROR


def test_a_clock_that_cannot_be_compared_is_a_warning() -> None:
    found = clock.compare_clock({"web": lambda: clock.time_from_http("127.0.0.1", 1)}, lambda: 0.0)
    assert found.level == WARNING and "1970-01-01 00:00 UTC" in found.message
