"""Offers of updates: signature, nonce, grammar and limits. A refused offer changes nothing on flash."""

import os

import slot
from app import update, update_offer
from helper import raises
from update_device import Device, Sender, clean, make_nonce, sign

BAD = "not an update offer of format 2: see docs/update.md"
OLD_NONCE = "old nonce: the offer was sent before, or the device was restarted. Send a new one"


def write_version(version):
    os.mkdir("a")
    with open("a/version", "w") as file:
        file.write("%d\n" % version)
    slot.write("a", ".", slot.CONFIRMED)


def list_files():
    """Return the content of all files that an update may change."""
    found = {}
    for name in os.listdir():
        if name.split(".")[0] in ("slot", "rolled_back", "update_nonce"):
            with open(name) as file:
                found[name] = file.read()
        elif name in ("a", "b"):
            found[name] = sorted(os.listdir(name))
    return found


def refuse(device, payload):
    """Send an offer that must be refused and must not change flash; returns the reason."""
    before = list_files()
    device.receive_offer(payload)
    state = device.state
    assert state["state"] == "refused" and not device.download, payload
    assert list_files() == before and "p/dut/update/chunk" not in device.client.handlers
    return state["reason"]


def make_line(device, **changes):
    """Return the line of an offer with other fields."""
    fields = {
        "head": "umqtt5 update 2",
        "name": "dut",
        "board": "esp32",
        "version": "8",
        "size": "100",
        "sha256": "ab" * 32,
        "nonce": device.update.load_nonce(),
        "rest": "",
    }
    fields.update(changes)
    order = "head", "name", "board", "version", "size", "sha256", "nonce"
    return " ".join([fields[name] for name in order]) + fields["rest"]


def test_only_a_line_that_is_signed_as_it_was_sent_is_accepted():
    clean()
    device = Device()
    offer = sign(make_line(device))
    for i in range(len(offer)):
        for change in (1, 0x20, 0x80):
            changed = bytearray(offer)
            changed[i] ^= change
            if bytes(changed) != offer:
                refuse(device, bytes(changed))
    for payload in (offer[:-1], offer + b"0", offer + b"\n", offer.replace(b"\n", b"\r\n"), b" " + offer):
        refuse(device, payload)
    assert refuse(device, sign(make_line(device), "00" * 32)) == "wrong signature: check update.key"
    device.receive_offer(offer)
    assert device.state["state"] == "receiving" and device.state["offered"] == 8
    device.cancel()
    clean()


def test_offers_that_are_not_of_this_format_are_refused_with_a_reason():
    clean()
    device = Device()
    for payload in (b"", b"7", b"[]", b"null", b"\xff\xfe", b"umqtt5", b"umqtt5 update 2 ", b"\0" * 600):
        assert refuse(device, payload) == BAD
    assert refuse(device, b"umqtt5 update 3 dut\n" + b"0" * 64) == BAD
    assert refuse(device, b"umqtt5 update 2 dut\nhello") == "wrong signature: expected 64 hexadecimal digits"
    assert refuse(device, b"x" * 700) == "700 bytes, expected at most 600"
    old = "the offer has an old format: send it with the tools of the version on the device"
    for value in ('"7"', '"7.0"', "7e0", "true", "9" * 400, "-7", "[7]", '{"version": 7}', '7, "version": 8'):
        assert refuse(device, b'{"version": ' + value.encode() + b', "board": "esp32"}') == old
    clean()


def test_signed_lines_are_parsed_strictly():
    clean()
    device = Device()
    number = "version: expected a number of 1 to 20 digits without a leading 0"
    for version in (
        "0",
        "07",
        "+7",
        "-7",
        "7.0",
        "7e0",
        "7_0",
        "true",
        "x",
        "0x7",
        "\u0667",
        "9" * 21,
        "9" * 200,
    ):
        assert refuse(device, sign(make_line(device, version=version))) == number, version
    for version in ("", "7 ", " 7", "7 8"):
        assert refuse(device, sign(make_line(device, version=version))) in (BAD, number), version
    number = "size: expected a number of 1 to 5 digits without a leading 0"
    for size in ("0", "-1", "1e3", "100000", "1" * 100):
        assert refuse(device, sign(make_line(device, size=size))) == number, size
    too_large = "a manifest of 32769 bytes is too large, expected at most 32768"
    assert refuse(device, sign(make_line(device, size="32769"))) == too_large
    for digest_ in ("", "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32):
        assert refuse(device, sign(make_line(device, sha256=digest_))) == BAD, digest_
    for rest in (" ", "  force", " force ", " Force", " force force", "\t", " true", "\0"):
        assert refuse(device, sign(make_line(device, rest=rest))) in (BAD, OLD_NONCE), rest
    for head in ("umqtt5 update 2 x", "umqtt5 update 2 dut"):
        refuse(device, sign(make_line(device, head=head)))
    assert refuse(device, sign(make_line(device).encode()[:30] + b"\xff\xff")) != ""
    reason = "the update is for another, this device is dut"
    assert refuse(device, sign(make_line(device, name="another"))) == reason
    reason = "the update is for rpi_pico_w, this board is esp32"
    assert refuse(device, sign(make_line(device, board="rpi_pico_w"))) == reason
    clean()


def test_versions_of_up_to_20_digits_are_compared_as_numbers():
    clean()
    write_version(1_764_000_000_000)
    device = Device()
    for version in (1, 176_400_000_000, 1_764_000_000_000):
        reason = "version %d is not newer than 1764000000000" % version
        assert refuse(device, Sender(device, version=version).offer) == reason
    for version in (1_764_000_000_001, 10**20 - 1):
        device.receive_offer(Sender(device, version=version).offer)
        assert device.state["offered"] == version
        device.cancel()
    clean()


# ---- the nonce


def test_an_offer_is_accepted_once():
    clean()
    device = Device()
    sender = Sender(device, version=8)
    sender.device.receive_offer(sender.offer)
    for _ in range(200):
        device.run(1000)
    assert device.state["state"] == "failed" and device.state["offer"] == sender.tag
    device.receive_offer(sender.offer)  # a copy that arrives late
    assert device.state["state"] == "failed" and not device.download
    refuse(device, b"garbage")
    newer = Sender(device, version=9)
    device.receive_offer(newer.offer)
    assert device.state["state"] == "receiving"
    for _ in range(200):
        device.run(1000)
    assert refuse(device, sender.offer) == OLD_NONCE
    assert refuse(device, Sender(Device(), version=10).offer) == OLD_NONCE  # for another start
    clean()


def test_a_recorded_offer_is_refused_after_a_restart_a_deployment_by_cable_and_a_rollback():
    for force in (False, True):
        clean()
        device = Device()
        sender = Sender(device, version=8, force=force)
        device.receive_offer(sender.offer)
        device.cancel()
        assert refuse(Device(), sender.offer) == OLD_NONCE  # restarted
        write_version(8)
        slot.write("a", ".", 3)
        slot.roll_back()
        assert refuse(Device(), sender.offer) == OLD_NONCE
        clean()  # `make deploy` removes these files
        assert refuse(Device(), sender.offer) == OLD_NONCE
    clean()


def test_an_offer_that_was_refused_for_its_version_cannot_be_sent_again():
    clean()
    write_version(9)
    device = Device()
    old = Sender(device, version=8)
    before = device.state["nonce"]
    assert refuse(device, old.offer) == "version 8 is not newer than 9"
    assert device.state["offer"] == old.tag and device.state["nonce"] != before
    device.update.version = 0
    refuse(device, Sender(device, version=0).offer)
    assert refuse(device, old.offer) == OLD_NONCE
    clean()


def test_offers_without_a_valid_signature_do_not_change_the_nonce():
    clean()
    device = Device()
    nonce = device.state["nonce"]
    for payload in (b"", b"{}", sign(make_line(device), "00" * 32), sign(make_line(device, nonce="0" * 32))):
        refuse(device, payload)
    assert device.state["nonce"] == nonce and len(nonce) == 32
    clean()


def test_the_nonce_is_random_and_differs_at_each_start():
    clean()
    assert len({Device().state["nonce"] for _ in range(20)}) == 20
    clean()


def test_a_port_without_random_numbers_accepts_no_offer():
    clean()
    update.make_nonce = lambda: ""
    try:
        device = Device()
        assert device.state["nonce"] == ""
        assert refuse(device, sign(make_line(device, nonce=""))) == OLD_NONCE
    finally:
        update.make_nonce = make_nonce
    clean()


def test_a_device_in_deep_sleep_keeps_its_nonce_until_an_offer_uses_it():
    clean()
    device = Device(is_deep=True)
    sender = Sender(device, version=8)
    nonce = device.state["nonce"]
    woken = Device(is_deep=True, is_wake=True)
    assert woken.state["nonce"] == nonce
    woken = Device(is_deep=True, is_wake=True)
    woken.receive_offer(sender.offer)  # before the state is published
    assert woken.state["state"] == "receiving" and woken.state["nonce"] != nonce
    woken.cancel()
    again = Device(is_deep=True, is_wake=True)
    assert again.state["nonce"] == woken.state["nonce"]
    assert refuse(again, sender.offer) == OLD_NONCE
    assert Device(is_deep=True).state["nonce"] != again.state["nonce"]  # the power was off
    clean()


def test_a_device_whose_nonce_cannot_be_stored_uses_each_nonce_in_one_start_only():
    clean()
    os.mkdir("update_nonce")
    try:
        nonces = {Device(is_deep=True, is_wake=wake).state["nonce"] for wake in (False, True, True)}
        assert len(nonces) == 3
        device = Device(is_deep=True)
        device.receive_offer(Sender(device, version=8).offer)
        assert device.state["state"] == "refused" and not device.download
    finally:
        if "update_nonce" in os.listdir():
            os.rmdir("update_nonce")
    for text in ("", "xyz", "0" * 31, "0" * 33, "A" * 32, "\0" * 32):
        with open("update_nonce", "w") as file:
            file.write(text)
        assert Device(is_deep=True, is_wake=True).state["nonce"] != text
    clean()


def test_an_old_nonce_does_not_become_valid_again_if_the_new_one_cannot_be_stored():
    clean()
    with open("update_nonce", "w") as file:
        file.write("1" * 32)

    def fail(*args):
        raise OSError(28)

    update_offer.open = fail
    try:
        raises(OSError, update_offer.save_nonce, "2" * 32)
    finally:
        del update_offer.open
    assert "update_nonce" not in os.listdir()


# ---- offers while the device is busy


def test_an_offer_while_a_version_is_on_trial_is_refused_and_the_trial_goes_on():
    clean()
    write_version(5)
    slot.write("a", ".", 1)
    device = Device(30)
    device.run()
    sender = Sender(device, version=8, force=True)
    for payload in (b"garbage", sender.offer):
        device.receive_offer(payload)
        assert device.state["state"] == "trying" and not device.download
    assert device.state["refused"] == "version 5 is not confirmed yet"
    assert device.state["refused_offer"] == sender.tag
    device.run(30_000)
    assert device.state["state"] == "installed" and "refused" not in device.state
    clean()


def test_a_refused_offer_during_a_download_does_not_disturb_it():
    clean()
    device = Device()
    sender = Sender(device, version=8)
    device.receive_offer(sender.offer)
    stale = sign(make_line(device, nonce="0" * 32))
    forged = sign(make_line(device), "00" * 32)
    for payload in (b"garbage", stale, sender.offer, forged):
        device.receive_offer(payload)
        state = device.state
        assert state["state"] == "receiving" and state["offer"] == sender.tag and state["offered"] == 8
    assert (
        state["refused"] == "wrong signature: check update.key"
        and state["refused_offer"] == forged[-64:-56].decode()
    )
    device.receive_offer(Sender(device, version=9).offer)  # a new offer of the owner replaces the download
    assert device.state["offered"] == 9 and "refused" not in device.state
    device.cancel()
    clean()


def test_a_retained_offer_is_ignored():
    clean()
    device = Device()
    device.receive_offer(Sender(device).offer, retain=True)
    assert not device.download and device.state["state"] == "installed"


def test_the_code_for_offers_is_unloaded_after_use():
    import sys

    clean()
    device = Device()
    for payload in (b"garbage", Sender(device).offer):
        device.receive_offer(payload)
        assert "app.update_offer" not in sys.modules
    assert "app.update_download" in sys.modules
    for _ in range(200):
        device.run(1000)
    assert "app.update_download" not in sys.modules


# ---- HMAC


def test_the_hmac_computes_the_examples_of_rfc_4231():
    def hmac(key, data):
        return update_offer.compute_hmac(*update_offer.make_pads(key), data)

    # RFC 4231, test cases 2 and 6
    found = hmac(b"Jefe", b"what do ya want for nothing?")
    expected = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert found == expected
    found = hmac(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First")
    assert found == bytes.fromhex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    compare = update_offer.compare_digest
    assert compare(found, found) and not compare(found, found[:-1])
    for i in range(32):
        changed = bytearray(found)
        changed[i] ^= 1 << i % 8
        assert not compare(found, bytes(changed))
