"""The clock with TLS: when a connection can begin without a time server, and what is stored."""

import os
import sys
from binascii import a2b_base64

from app import clock_floor, tls_clock

BUILD = clock_floor.BUILD_TIME
WRAP = 1 << 30
DAY = 86400
# The start of a certificate that is valid from 2027-03-01 12:34:56 to 2051-01-01: version, serial number,
# algorithm, issuer CN=ca, validity. The rest is not needed.
DER = bytes.fromhex(
    "308201003081ad"  # Certificate, TBSCertificate
    "a003020102"  # version
    "020101"  # serial number
    "300a06082a8648ce3d040302"  # algorithm
    "300d310b3009060355040313026361"  # issuer
    "3020"
    + b"\x17\x0d270301123456Z".hex()  # UTCTime
    + b"\x18\x0f20510101000000Z".hex()  # GeneralizedTime
)
# the start of a certificate of the package `cryptography`: valid from 2026-05-04 03:02:01 to the year 9999
REAL = (
    b"MIIByDCCAW2gAwIBAgIUMr3Sur5c69esJO5XEDhw2Iw+MIQwCgYIKoZIzj0EAwIwWDELMAkGA1UEBhMCREUxKDAmBg"
    b"NVBAoMH0V4YW1wbGUgZ2FyZGVucyBhbmQgZ3JlZW5ob3VzZXMxHzAdBgNVBAMMFkV4YW1wbGUgYXV0aG9yaXR5IDIw"
    b"MjYwIBcNMjYwNTA0MDMwMjAxWhgPOTk5OTEyMzEyMzU5NTlaMFgxCzAJBgNVBAYTAkRFMSgwJgYDVQQKDB9FeGFtcG"
    b"xlIGdhcmRlbnMgYW5kIGdyZWVuaG91c2VzMR8wHQYDVQQDDBZF"
)
NOT_BEFORE = 1803904496
NOT_AFTER = 2556144000


class Board:
    """The clock of the board, which a time server, the device or a test may set."""

    def __init__(self, seconds=0):
        self.seconds = seconds
        self.set_to = []
        tls_clock.unix_time = lambda: self.seconds if self.seconds >= BUILD else 0

    def set_clock(self, seconds):
        self.set_to.append(seconds)
        self.seconds = seconds


def make(board, paths=("ca.pem", None), bound=60000):
    return tls_clock.TlsClock("dut", paths, board.set_clock, bound)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def remove(*paths):
    for path in paths:
        try:
            os.remove(path)
        except OSError:
            pass


def start_empty():
    remove("clock", "ca.pem", "client.pem")


def to_pem(der):
    from binascii import b2a_base64

    text = b2a_base64(der).strip()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"


def test_a_clock_that_is_set_needs_no_time_server():
    start_empty()
    board = Board(BUILD + 5)
    assert make(board).is_ready(0, False) and not board.set_to


def test_a_clock_that_is_not_set_is_waited_for_and_then_set_to_the_floor():
    start_empty()
    board = Board()
    clock = make(board)
    start = WRAP - 30000  # the ticks wrap while the device waits
    for ms in range(0, 60000, 500):
        assert not clock.is_ready((start + ms) % WRAP, False) and not board.set_to
    assert clock.is_ready((start + 60000) % WRAP, False)
    assert board.set_to == [BUILD]
    assert clock.is_ready((start + 60500) % WRAP, False) and len(board.set_to) == 1


def test_the_bound_begins_when_the_network_is_up():
    start_empty()
    clock = make(Board())
    assert not clock.is_ready(500000, False)
    assert not clock.is_ready(559999, False)
    assert clock.is_ready(560000, False)


def test_a_time_server_ends_the_wait():
    start_empty()
    board = Board()
    clock = make(board)
    assert not clock.is_ready(0, False)
    board.seconds = BUILD + 100
    assert clock.is_ready(500, True) and not board.set_to
    # also if its time is before the floor, because it may be the floor that is wrong
    write("ca.pem", DER)
    board = Board()
    clock = make(board)
    assert clock.is_ready(500, True) and not board.set_to


def test_without_a_time_server_the_clock_is_set_at_once():
    start_empty()
    board = Board()
    assert make(board, bound=0).is_ready(7, False) and board.set_to == [BUILD]


def test_the_floor_is_the_latest_of_build_certificates_and_last_time_seen():
    start_empty()
    assert clock_floor.read_floor(("ca.pem", None)) == (BUILD, 0)
    write("client.pem", DER)
    assert clock_floor.read_floor(("ca.pem", "client.pem")) == (NOT_BEFORE, 0)
    clock_floor.store(NOT_BEFORE + 7)
    assert clock_floor.read_floor(("ca.pem", "client.pem")) == (NOT_BEFORE + 7, NOT_BEFORE + 7)
    clock_floor.store(BUILD + 7)
    assert clock_floor.read_floor(("ca.pem", "client.pem")) == (NOT_BEFORE, BUILD + 7)
    start_empty()


def test_a_clock_before_the_last_time_seen_is_not_accepted():
    start_empty()
    clock_floor.store(BUILD + 100)
    board = Board(BUILD + 50)
    clock = make(board)
    assert not clock.is_ready(0, False)
    assert clock.is_ready(60000, False) and board.set_to == [BUILD + 100]
    start_empty()


def test_the_validity_is_read_from_pem_and_der():
    for data in (
        DER,
        to_pem(DER),
        to_pem(DER).replace(b"\n", b"\r\n"),
        b"Certificate:\n"
        + b"    Data: version 3\n" * 300
        + to_pem(DER)
        + to_pem(DER.replace(b"2703", b"2803")),
    ):
        write("ca.pem", data)
        assert clock_floor.read_validity("ca.pem") == (NOT_BEFORE, NOT_AFTER)
    write("ca.pem", DER.replace(b"2703", b"9903"))
    assert clock_floor.read_validity("ca.pem")[0] == 920291696  # 1999
    write("ca.pem", a2b_base64(REAL))
    assert clock_floor.read_validity("ca.pem") == (1777863721, 0xFFFFFFFF)
    start_empty()


def test_a_file_that_is_damaged_does_not_prevent_the_start():
    for data in (
        b"",
        b"\xff" * 100,
        b"\x30",
        b"-----BEGIN CERTIFICATE-----\n",
        DER[:40],
        DER[:60],
        bytes(100),
    ):
        write("ca.pem", data)
        assert clock_floor.read_validity("ca.pem") == (0, 0xFFFFFFFF), data
    for i in range(len(DER)):
        write("ca.pem", DER[:i] + bytes((DER[i] ^ 0x55,)) + DER[i + 1 :])
        clock_floor.read_validity("ca.pem")
    start_empty()
    for data in (
        b"",
        b"\xff" * 24,
        b"1790000000",
        b"1790000000 00000000",
        b"99999999999999999999999",
        bytes(24),
    ):
        write("clock", data)
        assert clock_floor.read_floor((None, None)) == (BUILD, 0), data
    start_empty()
    os.mkdir("clock")
    try:
        board = Board()
        clock = make(board, bound=0)
        assert clock.is_ready(0, False) and board.set_to == [BUILD]
        clock.save(0)
    finally:
        os.rmdir("clock")


def test_a_stored_time_after_the_end_of_the_ca_is_ignored_and_replaced():
    """A forged or wrong time must not lock the device out for ever."""
    start_empty()
    write("ca.pem", DER)
    clock_floor.store(NOT_AFTER + 1)
    board = Board()
    clock = make(board, bound=0)
    assert clock.is_ready(0, False) and board.set_to == [NOT_BEFORE]
    clock.save(0)
    assert clock_floor.read_floor(("ca.pem", None)) == (NOT_BEFORE, NOT_BEFORE)
    start_empty()


def test_the_time_is_stored_at_most_once_a_day():
    start_empty()
    board = Board(BUILD + 1000)
    clock = make(board)
    stored = []
    store = clock_floor.store
    clock_floor.store = stored.append
    sys.modules["app.clock_floor"] = clock_floor  # it was unloaded
    try:
        for step in range(10 * 24 * 60):  # ten days
            sys.modules["app.clock_floor"] = clock_floor
            clock.save(step * 60000 % WRAP)
            board.seconds += 60
    finally:
        clock_floor.store = store
        sys.modules["app.clock_floor"] = clock_floor
    assert len(stored) == 10 and stored[0] == BUILD + 1000
    assert all(b - a >= DAY for a, b in zip(stored, stored[1:]))


def test_a_restart_does_not_store_the_time_again():
    start_empty()
    board = Board(BUILD + 1000)
    make(board).save(0)
    with open("clock", "rb") as file:
        before = file.read()
    board.seconds += DAY - 1
    make(board).save(0)
    with open("clock", "rb") as file:
        assert file.read() == before
    board.seconds += 1
    make(board).save(0)
    with open("clock", "rb") as file:
        assert file.read() != before
    start_empty()


def test_errors_of_flash_and_of_the_clock_are_ignored():
    start_empty()
    board = Board(BUILD + 1000)
    clock = make(board)

    def fail(seconds):
        raise OSError(28)

    store, clock_floor.store = clock_floor.store, fail
    sys.modules["app.clock_floor"] = clock_floor
    try:
        clock.save(0)
    finally:
        clock_floor.store = store
        sys.modules["app.clock_floor"] = clock_floor
    board = Board()
    board.set_clock = fail
    assert make(board, bound=0).is_ready(0, False)


def test_the_code_that_reads_certificates_is_unloaded():
    start_empty()
    make(Board())
    assert "app.clock_floor" not in sys.modules
    sys.modules["app.clock_floor"] = clock_floor
