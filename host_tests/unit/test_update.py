"""Updates over the air: the choice of a folder, and what a receiver does when flash or time runs out."""

import json
import os

import slot
from app import update, update_download
from app.update import Update, compare_digest, hmac_sha256
from helper import raises

KEY = "0f" * 32


def clean():
    for name in os.listdir():
        if name in ("slot", "slot.new", "start_count"):
            os.remove(name)
    update_download._clear("a")
    update_download._clear("b")


class Outbox:
    count = 0


class Session:
    outbox = Outbox()


class Client:
    def __init__(self):
        self.session = Session()
        self.is_connected = True
        self.handlers = {}
        self.sent = []

    def subscribe(self, topic, handler, qos=0, retain_handling=0):
        self.handlers[topic] = handler

    def unsubscribe(self, topic):
        self.handlers.pop(topic, None)

    def publish(self, topic, payload, qos=0, retain=False):
        self.sent.append((topic, payload))
        return 1

    def disconnect(self):
        pass


class Message:
    def __init__(self, payload, retain=False):
        self.payload = payload
        self.retain = retain

    def __len__(self):
        return len(self.payload)


class Resets(Exception):
    pass


def resets():
    raise Resets


def made(confirm=30):
    client = Client()
    return client, Update(client, "p/dut", "dut", "esp32", {"key": KEY, "confirm": confirm}, resets, 0)


def state(client):
    return json.loads([payload for topic, payload in client.sent if topic == "p/dut/update"][-1])


def digest(data):
    sum = update_download.sha256(data)
    return update_download._hex(sum)


def offer(files, version=5):
    """An update of these files by path: its parts, and the offer."""
    lines = ["%d %s %s\n" % (len(data), digest(data), path) for path, data in files]
    parts = ["".join(lines).encode()] + [data for _, data in files]
    line = "umqtt5 update dut esp32 %d %d %s" % (version, len(parts[0]), digest(parts[0]))
    told = {"version": version, "board": "esp32", "size": len(parts[0]), "sha256": digest(parts[0])}
    told["signature"] = hmac_sha256(bytes.fromhex(KEY), line.encode())
    return parts, json.dumps(told)


def give(client, parts, size=300, rounds=200):
    """Give it what it asks for, until it asks for nothing more; returns the Update's last `run`."""
    for _ in range(rounds):
        wants = [json.loads(payload) for topic, payload in client.sent if topic == "p/dut/update/request"]
        client.sent = [one for one in client.sent if one[0] != "p/dut/update/request"]
        if not wants or "p/dut/update/chunk" not in client.handlers:
            return
        number, at = wants[-1]
        data = parts[number]
        while at < len(data):
            head = number.to_bytes(2, "big") + at.to_bytes(4, "big")
            client.handlers["p/dut/update/chunk"](Message(head + data[at : at + size]))
            at += size
        client.run()


def begun(files=(("app/new.mpy", b"new" * 500),), version=5):
    clean()
    client, device = made()
    now = [0]
    update_download.ticks_ms = lambda: now[0]
    update_download.ticks_add = lambda a, b: a + b
    update_download.ticks_diff = update.ticks_diff = lambda a, b: a - b
    client.now = now
    client.run = lambda: device.run(now[0])
    parts, told = offer(files, version)
    client.handlers["p/dut/update/set"](Message(told.encode()))
    client.run()
    return client, device, parts


# ---- the choice


def chosen():
    import sys

    before = list(sys.path)
    slot.select()
    new = [path for path in sys.path if path not in before]
    sys.path[:] = before
    return new


def test_without_an_update_what_the_cable_brought_is_used():
    clean()
    assert slot.read() == (".", ".", slot.CONFIRMED) and not chosen()
    assert not os.listdir() or "slot" not in os.listdir()


def test_a_new_version_is_tried_three_times():
    clean()
    slot.write("a", ".", 0)
    for tries in (1, 2, 3):
        assert chosen() == ["a"]
        assert slot.read() == ("a", ".", tries)
    assert not chosen()
    assert slot.read() == (".", "a", slot.ROLLED_BACK)
    assert not chosen() and slot.read() == (".", "a", slot.ROLLED_BACK)


def test_a_confirmed_one_stays():
    clean()
    slot.write("b", "a", slot.CONFIRMED)
    for _ in range(5):
        assert chosen() == ["b"]


def test_going_back_forgets_the_crashes_of_the_other():
    clean()
    with open("start_count", "w") as file:
        file.write("...")
    slot.write("b", "a", 3)
    assert chosen() == ["a"]
    assert "start_count" not in os.listdir()


def test_the_choice_is_cut_anywhere():
    for cut in range(9):
        clean()
        slot.write("a", ".", slot.CONFIRMED)
        with open("slot.new", "w") as file:
            file.write("b a 0\n"[:cut])
        assert slot.read() == ("a", ".", slot.CONFIRMED)
    clean()
    with open("slot.new", "w") as file:  # FAT: the old one is gone, the new one not in its place
        file.write("b a 0\n")
    assert slot.read() == ("b", "a", 0)
    for rot in ("", "b", "b a", "b a x", "\0\0\0"):
        clean()
        with open("slot", "w") as file:
            file.write(rot)
        assert slot.read() == (".", ".", slot.CONFIRMED)
    clean()


# ---- the receiver


def test_all_files_are_there_before_it_is_chosen():
    files = (("app/new.mpy", b"new" * 500), ("pins.mpy", b"pins"))
    client, device, parts = begun(files)
    raises(Resets, give, client, parts)
    assert slot.read() == ("a", ".", 0) and slot.read_version("a") == 5
    for path, data in files:
        with open("a/" + path, "rb") as file:
            assert file.read() == data
    assert state(client) == {"version": 0, "state": "restarting"}
    clean()


def test_pieces_that_come_twice_or_too_early_do_not_matter():
    client, device, parts = begun()
    take = client.handlers["p/dut/update/chunk"]
    take(Message(b"\x00\x00\x00\x00\x00\x63" + parts[0][99:]))  # before what it wants
    take(Message(b"\x00\x07\x00\x00\x00\x00hello"))
    half = b"\x00\x00\x00\x00\x00\x00" + parts[0][:40]
    take(Message(half))
    take(Message(half))
    client.now[0] += 5000
    client.run()
    assert json.loads(client.sent[-1][1]) == [0, 40]  # it asks for what it has not
    raises(Resets, give, client, parts)
    clean()


def test_nobody_sends_it():
    client, device, parts = begun()
    for _ in range(200):
        client.now[0] += 1000
        client.run()
    assert state(client) == {"version": 0, "state": "failed", "reason": "nobody sends it"}
    assert "a" not in os.listdir() and slot.read() == (".", ".", slot.CONFIRMED)
    assert not [topic for topic in client.handlers if topic.endswith("chunk")]


def test_flash_is_full():
    client, device, parts = begun()

    class Full:
        def write(self, data):
            raise OSError(28)

        def close(self):
            pass

    device._download._file.close()
    device._download._file = Full()
    give(client, parts)
    client.run()
    assert state(client)["state"] == "failed" and "28" in state(client)["reason"]
    assert "a" not in os.listdir() and slot.read() == (".", ".", slot.CONFIRMED)


def test_the_same_offer_again_does_not_begin_anew_and_another_does():
    client, device, parts = begun()
    client.handlers["p/dut/update/chunk"](Message(b"\x00\x00\x00\x00\x00\x00" + parts[0][:40]))
    client.handlers["p/dut/update/set"](Message(offer((("app/new.mpy", b"new" * 500),))[1].encode()))
    assert device._download._at == 40
    parts, told = offer((("app/other.mpy", b"other"),), 6)
    client.handlers["p/dut/update/set"](Message(told.encode()))
    assert device._download._at == 0
    client.sent.clear()
    client.run()
    raises(Resets, give, client, parts)
    assert slot.read_version("a") == 6
    clean()


def test_a_retained_offer_is_old_news():
    clean()
    client, device = made()
    client.handlers["p/dut/update/set"](Message(offer((("app/new.mpy", b"new"),))[1].encode(), retain=True))
    assert not device._download


# ---- is it good


def test_it_is_confirmed_when_it_was_connected_for_a_while():
    clean()
    update.ticks_diff = lambda a, b: a - b
    slot.write("a", ".", 1)
    client, device = made(30)
    client.is_connected = False
    device.run(0)
    client.is_connected = True
    device.run(10_000)
    device.run(39_999)
    assert slot.read() == ("a", ".", 1) and state(client)["state"] == "trying"
    client.is_connected = False  # a link that is lost does not count
    device.run(39_999)
    client.is_connected = True
    device.run(45_000)
    device.run(70_000)
    assert slot.read() == ("a", ".", 1)
    device.run(75_000)
    assert slot.read() == ("a", ".", slot.CONFIRMED) and state(client)["state"] == "installed"
    clean()


def test_one_that_never_connects_goes_back_by_itself():
    clean()
    update.ticks_diff = lambda a, b: a - b
    slot.write("a", ".", 1)
    client, device = made(30)
    client.is_connected = False
    device.run(599_999)
    assert slot.read() == ("a", ".", 1)
    raises(Resets, device.run, 600_000)
    assert slot.read() == (".", "a", slot.ROLLED_BACK)
    clean()


def test_the_signature_is_that_of_rfc_2104():
    # RFC 4231, test cases 2 and 6
    found = hmac_sha256(b"Jefe", b"what do ya want for nothing?")
    assert found == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    found = hmac_sha256(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First")
    assert found == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    assert (
        compare_digest(found, found)
        and not compare_digest(found, found[:-1])
        and not compare_digest(found, "7" + found[1:])
    )
