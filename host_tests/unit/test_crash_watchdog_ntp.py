"""What keeps a device alive: crashes remembered, the watchdog, the clock."""

import os
import struct
import sys

if sys.platform == "webassembly":  # the 32-bit VM has none; the tests bring their own
    sys.modules["socket"] = os

from app import crash, ntp, watchdog


def test_a_crash_is_kept_until_it_is_told():
    crash.delete_log()
    assert crash.load() is None
    try:
        raise ValueError("the pump is gone")
    except ValueError as error:
        crash.save(error)
    assert b"ValueError: the pump is gone" in crash.load()
    crash.delete_log()
    assert crash.load() is None
    crash.delete_log()


def test_a_crash_is_kept_in_bounded_space():
    try:
        raise ValueError("x" * 5000)
    except ValueError as error:
        crash.save(error)
    assert len(crash.load()) <= 1500
    assert os.stat("crash.txt")[6] <= 1500
    crash.delete_log()


def test_after_three_short_lives_comes_safe_mode():
    crash.clear_start_count()
    assert [crash.count_start() for _ in range(5)] == [False, False, False, True, True]
    crash.clear_start_count()
    assert not crash.count_start()
    crash.clear_start_count()


class Dog:
    def __init__(self, ms):
        assert ms <= 8388  # what the RP2040 can count
        self.fed = 0

    def feed(self):
        self.fed += 1


def test_the_watchdog_is_fed_on_progress():
    here = watchdog.Watchdog(Dog, 60000, 0)
    here.loop_done(1000, True)
    assert here._dog.fed == 1
    here.loop_done(60999, False)
    assert here._dog.fed == 2
    here.loop_done(61000, False)  # too long without a link: let it bite
    assert here._dog.fed == 2
    here.loop_done(61500, True)
    assert here._dog.fed == 3


def test_a_watchdog_that_does_not_mind_the_link():
    here = watchdog.Watchdog(Dog, 0, 0)
    here.loop_done(400_000_000, False)
    assert here._dog.fed == 1


class Net:
    """`socket`: a time server for each name, or none."""

    AF_INET = SOCK_DGRAM = 0

    def __init__(self, **servers):
        self.servers = servers
        self.asked = []

    def getaddrinfo(self, host, port):
        assert port == 123
        self.asked.append(host)
        if host not in self.servers:
            raise OSError(-2)
        return [(0, 0, 0, "", (host, port))]

    def socket(self, family, kind):
        return Socket(self)


class Socket:
    def __init__(self, net):
        self._net = net

    def setblocking(self, on):
        assert on is False

    def connect(self, address):
        self._server = self._net.servers[address[0]]

    def send(self, data):
        assert len(data) == 48 and data[0] == 0x23
        self._answer = self._server(data) if self._server else None

    def recv(self, n):
        if self._answer is None:
            raise OSError(11)
        data, self._answer = self._answer, None
        return data[:n]

    def close(self):
        pass


def answer(seconds, first=0x24, stratum=1, mark=None):
    def server(question):
        since_1900 = (seconds + 2208988800) & 0xFFFFFFFF
        head = bytes([first, stratum]) + bytes(22)
        return head + (mark or question[40:48]) + bytes(8) + struct.pack("!II", since_1900, 0)

    return server


NOW = 1790000000  # 2026


def asked(**servers):
    """A clock that has these servers, what it was set to, and the net."""
    ntp.socket = net = Net(**servers)
    ntp.unix_time = lambda: 0  # it was never set
    set_to = []
    return ntp.NtpClient(sorted(servers) + ["nowhere"], set_to.append), set_to, net


def test_the_clock_is_set():
    here, set_to, net = asked(a=answer(NOW))
    assert not here.run(0)
    assert here.run(10) and here.is_set
    assert set_to == [NOW]
    assert not here.run(1000) and net.asked == ["a"]
    here.run(86400000 + 10)  # a day later it is asked again
    assert net.asked == ["a", "a"]


def test_after_2036_too():
    here, set_to, net = asked(a=answer(0x100000000 - 2208988800 + 5))
    here.run(0)
    assert here.run(10)
    assert set_to == [2085978501]


def test_the_next_server_is_asked_where_one_is_silent():
    here, set_to, net = asked(a=None, b=answer(NOW))
    here.run(0)
    assert not here.run(2999) and net.asked == ["a"]
    here.run(3000)
    here.run(3001)
    assert net.asked == ["a", "b"]
    assert here.run(3002) and set_to == [NOW]


def test_none_answers():
    here, set_to, net = asked(a=None)
    for now in range(0, 120000, 500):
        here.run(now)
    assert not here.is_set and not set_to
    assert net.asked[:2] == ["a", "nowhere"] and len(net.asked) == 4  # the list once a minute


def test_what_is_no_answer_to_our_question_is_left():
    for wrong in (
        answer(NOW, mark=b"not ours"),
        answer(NOW, first=0xE4),  # the server's own clock is not set
        answer(NOW, stratum=0),  # kiss of death
        answer(NOW, first=0x23),  # a question
        answer(1000000000),  # a time before this code
        lambda question: b"short",
    ):
        here, set_to, net = asked(a=wrong)
        here.run(0)
        assert not here.run(10) and not set_to
