"""Over-the-air updates: choice of the slot, download, timeouts, confirmation, rollback, signature."""

import json
import os

import slot
from app import update, update_download
from app.update import Update, compare_digest, hmac_sha256
from helper import raises

KEY = "0f" * 32


def clean():
    for name in os.listdir():
        if name in ("slot", "slot.new", "crash_count"):
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
        self.is_connected = self.has_room = True
        self.handlers = {}
        self.sent = []

    def subscribe(self, topic, handler, qos=0, retain_handling=0):
        self.handlers[topic] = handler

    def unsubscribe(self, topic):
        self.handlers.pop(topic, None)

    def publish(self, topic, payload, qos=0, retain=False):
        if not self.has_room:
            return 0
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


def make_update(confirm=30):
    client = Client()
    return client, Update(client, "p/dut", "dut", "esp32", {"key": KEY, "confirm": confirm}, resets, 0)


def state(client):
    return json.loads([payload for topic, payload in client.sent if topic == "p/dut/update"][-1])


def digest(data):
    sum = update_download.sha256(data)
    return update_download._hex(sum)


def offer(files, version=5):
    """Return the parts of an update with these files, and its offer as JSON."""
    lines = ["%d %s %s\n" % (len(data), digest(data), path) for path, data in files]
    parts = ["".join(lines).encode()] + [data for _, data in files]
    line = "umqtt5 update dut esp32 %d %d %s" % (version, len(parts[0]), digest(parts[0]))
    told = {"version": version, "board": "esp32", "size": len(parts[0]), "sha256": digest(parts[0])}
    told["signature"] = hmac_sha256(bytes.fromhex(KEY), line.encode())
    return parts, json.dumps(told)


def send_parts(client, parts, size=300, rounds=200):
    """Send the requested parts in chunks of `size` bytes until the device requests nothing more."""
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


def start_download(files=(("app/new.mpy", b"new" * 500),), version=5):
    clean()
    client, device = make_update()
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


# ---- choice of the slot


def selected_slot(runs_main=True):
    import sys

    before = list(sys.path)
    slot.select()
    if runs_main:
        slot.begin_trial()
    new = [path for path in sys.path if path not in before]
    sys.path[:] = before
    return new


def test_without_an_update_the_deployed_files_are_used():
    clean()
    assert slot.read() == (".", ".", slot.CONFIRMED) and not selected_slot()
    assert not os.listdir() or "slot" not in os.listdir()


def test_an_unconfirmed_version_is_started_three_times_and_then_rolled_back():
    clean()
    slot.write("a", ".", 0)
    for tries in (1, 2, 3):
        assert selected_slot(runs_main=False) == ["a"]  # a tool starts only boot.py: this does not count
        assert selected_slot() == ["a"]
        assert slot.read() == ("a", ".", tries)
    assert not selected_slot()
    assert slot.read() == (".", "a", slot.ROLLED_BACK)
    assert not selected_slot() and slot.read() == (".", "a", slot.ROLLED_BACK)


def test_a_start_that_a_person_stops_does_not_count():
    clean()
    slot.write("a", ".", 0)
    for _ in range(5):
        assert selected_slot() == ["a"]
        slot.forget_start()
    assert slot.read() == ("a", ".", 0)


def test_a_version_whose_starts_cannot_be_counted_is_not_run():
    def fail(*line):
        raise OSError(28)

    write = slot.write
    for tries, word in ((0, slot.CONFIRMED), (2, slot.CONFIRMED), (3, slot.ROLLED_BACK)):
        for previous in (".", "b"):
            clean()
            slot.write("a", previous, tries)
            slot.write = fail
            try:
                assert selected_slot() == ([previous] if previous != "." else [])
                # the running version does not regard itself as the one in `slot`, so it does not confirm it
                assert slot.read() == (previous, "a", word)
            finally:
                slot.write = write
            # when flash works again, the trial or the rollback continues
            assert selected_slot() == (["a"] if tries < 3 else [previous] if previous != "." else [])
    clean()


def test_a_trial_begins_without_crashes():
    clean()
    with open("crash_count", "w") as file:
        file.write("3 - ValueError")
    slot.write("a", ".", 0)
    assert selected_slot() == ["a"] and "crash_count" not in os.listdir()
    clean()


def test_a_confirmed_version_stays():
    clean()
    slot.write("b", "a", slot.CONFIRMED)
    for _ in range(5):
        assert selected_slot() == ["b"]


def test_a_rollback_clears_the_crash_count():
    clean()
    with open("crash_count", "w") as file:
        file.write("...")
    slot.write("b", "a", 3)
    assert selected_slot() == ["a"]
    assert "crash_count" not in os.listdir()


def test_a_damaged_slot_file_selects_a_valid_version():
    for cut in range(9):
        clean()
        slot.write("a", ".", slot.CONFIRMED)
        with open("slot.new", "w") as file:
            file.write("b a 0\n"[:cut])
        assert slot.read() == ("a", ".", slot.CONFIRMED)
    clean()
    with open("slot.new", "w") as file:  # on FAT, the old file is removed before the new one is renamed
        file.write("b a 0\n")
    assert slot.read() == ("b", "a", 0)
    for rot in ("", "b", "b a", "b a x", "\0\0\0"):
        clean()
        with open("slot", "w") as file:
            file.write(rot)
        assert slot.read() == (".", ".", slot.CONFIRMED)
    clean()


# ---- download


def test_a_version_is_selected_after_all_files_are_stored():
    files = (("app/new.mpy", b"new" * 500), ("pins.mpy", b"pins"))
    client, device, parts = start_download(files)
    raises(Resets, send_parts, client, parts)
    assert slot.read() == ("a", ".", 0) and slot.read_version("a") == 5
    for path, data in files:
        with open("a/" + path, "rb") as file:
            assert file.read() == data
    assert state(client) == {"version": 0, "state": "restarting"}
    clean()


def test_repeated_and_unrequested_chunks_are_ignored():
    client, device, parts = start_download()
    take = client.handlers["p/dut/update/chunk"]
    take(Message(b"\x00\x00\x00\x00\x00\x63" + parts[0][99:]))  # at an offset that the device did not request
    take(Message(b"\x00\x07\x00\x00\x00\x00hello"))
    half = b"\x00\x00\x00\x00\x00\x00" + parts[0][:40]
    take(Message(half))
    take(Message(half))
    client.now[0] += 5000
    client.run()
    assert json.loads(client.sent[-1][1]) == [0, 40]  # requests the missing rest
    raises(Resets, send_parts, client, parts)
    clean()


def test_a_download_times_out_after_2_minutes():
    client, device, parts = start_download()
    for _ in range(200):
        client.now[0] += 1000
        client.run()
    assert state(client) == {"version": 0, "state": "failed", "reason": "no data received for 2 minutes"}
    assert "a" not in os.listdir() and slot.read() == (".", ".", slot.CONFIRMED)
    assert not [topic for topic in client.handlers if topic.endswith("chunk")]


def test_a_full_flash_fails_the_update():
    client, device, parts = start_download()

    class Full:
        def write(self, data):
            raise OSError(28)

        def close(self):
            pass

    device._download._file.close()
    device._download._file = Full()
    send_parts(client, parts)
    client.run()
    assert state(client)["state"] == "failed" and "28" in state(client)["reason"]
    assert "a" not in os.listdir() and slot.read() == (".", ".", slot.CONFIRMED)


def test_a_repeated_offer_continues_and_a_new_offer_restarts_the_download():
    client, device, parts = start_download()
    client.handlers["p/dut/update/chunk"](Message(b"\x00\x00\x00\x00\x00\x00" + parts[0][:40]))
    client.handlers["p/dut/update/set"](Message(offer((("app/new.mpy", b"new" * 500),))[1].encode()))
    assert device._download._at == 40
    parts, told = offer((("app/other.mpy", b"other"),), 6)
    client.handlers["p/dut/update/set"](Message(told.encode()))
    assert device._download._at == 0
    client.sent.clear()
    client.run()
    raises(Resets, send_parts, client, parts)
    assert slot.read_version("a") == 6
    clean()


def test_a_retained_offer_is_ignored():
    clean()
    client, device = make_update()
    client.handlers["p/dut/update/set"](Message(offer((("app/new.mpy", b"new"),))[1].encode(), retain=True))
    assert not device._download


# ---- confirmation and rollback


def test_a_version_is_confirmed_after_being_connected_for_a_time():
    clean()
    update.ticks_diff = lambda a, b: a - b
    slot.write("a", ".", 1)
    client, device = make_update(30)
    client.is_connected = False
    device.run(0)
    client.is_connected = True
    device.run(10_000)
    device.run(39_999)
    assert slot.read() == ("a", ".", 1) and state(client)["state"] == "trying"
    client.is_connected = False  # a lost connection restarts the confirmation period
    device.run(39_999)
    client.is_connected = True
    device.run(45_000)
    device.run(70_000)
    assert slot.read() == ("a", ".", 1)
    device.run(75_000)
    assert slot.read() == ("a", ".", slot.CONFIRMED) and state(client)["state"] == "installed"
    clean()


def test_a_device_that_is_offline_is_not_kept_awake_by_its_update_state():
    clean()
    client, device = make_update()
    client.is_connected = False
    device.run(0)
    assert not device.is_busy
    client.is_connected = True
    client.has_room = False
    device.run(1000)
    assert device.is_busy  # the state is not published yet
    client.has_room = True
    device.run(2000)
    assert not device.is_busy


def test_a_version_that_never_connects_is_rolled_back():
    clean()
    update.ticks_diff = lambda a, b: a - b
    slot.write("a", ".", 1)
    client, device = make_update(30)
    client.is_connected = False
    device.run(599_999)
    assert slot.read() == ("a", ".", 1)
    raises(Resets, device.run, 600_000)
    assert slot.read() == (".", "a", slot.ROLLED_BACK)
    clean()


def test_hmac_sha256_computes_the_examples_of_rfc_4231():
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
