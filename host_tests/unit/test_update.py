"""Over-the-air updates: the slot, confirmation, rollback, and the record of versions that failed."""

import os

import archive
import rollback
import slot
from helper import raises
from update_device import Device, Resets, Sender, build_record, clean, create_version, mounted_folder


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def install(folder, version, previous=".", tries=0):
    """Put a version into a slot, and select it."""
    create_version(folder, version)
    slot.write(folder, previous, tries)


def select(folder, previous, tries):
    """Put complete versions into both slots, and select a folder."""
    create_version("a")
    create_version("b")
    slot.write(folder, previous, tries)


def selected_slot(runs_main=True):
    """Select the folder as boot.py and main.py do, and return it."""
    archive.mount(".")
    slot.select()
    if runs_main:
        slot.begin_trial()
    return mounted_folder()


# ---- the slot


def test_without_an_update_the_deployed_files_are_used():
    clean()
    assert slot.read() == (".", ".", slot.CONFIRMED) and selected_slot() == "."
    assert "slot" not in os.listdir()


def test_an_unconfirmed_version_is_started_three_times_and_then_rolled_back():
    clean()
    install("a", 5)
    for tries in (1, 2, 3):
        assert selected_slot(runs_main=False) == "a"  # a tool starts only boot.py: this does not count
        assert selected_slot() == "a"
        assert slot.read() == ("a", ".", tries)
    assert selected_slot() == "."
    assert slot.read() == (".", "a", slot.ROLLED_BACK)
    assert selected_slot() == "." and slot.read() == (".", "a", slot.ROLLED_BACK)
    clean()


def test_begin_trial_reports_whether_an_unconfirmed_version_runs():
    """main.py relies on it: in a trial an invalid config is an error, and a crash is not counted."""
    clean()
    assert slot.begin_trial() is False
    install("a", 5)
    assert slot.begin_trial() is True and slot.read() == ("a", ".", 1)
    install("a", 5, tries=slot.CONFIRMED)
    assert slot.begin_trial() is False
    install("a", 5)
    replace = slot.replace

    def fail(path, text):
        raise OSError(28)

    slot.replace = fail
    try:
        assert slot.begin_trial() is False  # not counted, so the previous version runs
        assert slot.read() == (".", "a", slot.CONFIRMED)
    finally:
        slot.replace = replace
        slot._unsaved = None
    clean()


def test_a_start_that_a_person_stops_does_not_count():
    clean()
    select("a", ".", 0)
    for _ in range(5):
        assert selected_slot() == "a"
        slot.forget_start()
    assert slot.read() == ("a", ".", 0)


def test_a_version_whose_starts_cannot_be_counted_is_not_run():
    def fail(*line):
        raise OSError(28)

    write = slot.write
    for tries, word in ((0, slot.CONFIRMED), (2, slot.CONFIRMED), (3, slot.ROLLED_BACK)):
        for previous in (".", "b"):
            clean()
            select("a", previous, tries)
            slot.write = fail
            try:
                assert selected_slot() == previous
                # the running version does not regard itself as the one in `slot`, so it does not confirm it
                assert slot.read() == (previous, "a", word)
            finally:
                slot.write = write
            # when flash works again, the trial or the rollback continues
            assert selected_slot() == ("a" if tries < 3 else previous)
    clean()


def test_a_trial_begins_without_crashes():
    clean()
    with open("crash_count", "w") as file:
        file.write("3 - ValueError")
    select("a", ".", 0)
    assert selected_slot() == "a" and "crash_count" not in os.listdir()
    clean()


def test_a_confirmed_version_stays():
    clean()
    select("b", "a", slot.CONFIRMED)
    for _ in range(5):
        assert selected_slot() == "b"


def test_a_rollback_clears_the_crash_count():
    clean()
    write("crash_count", "...")
    select("b", "a", 3)
    assert selected_slot() == "a"
    assert "crash_count" not in os.listdir()


def test_a_damaged_slot_file_selects_a_valid_version():
    for cut in range(9):
        clean()
        slot.write("a", ".", slot.CONFIRMED)
        write("slot.new", "b a 0\n"[:cut])
        assert slot.read() == ("a", ".", slot.CONFIRMED)
    clean()
    write("slot.new", "b a 0\n")  # on FAT, the old file is removed before the new one is renamed
    assert slot.read() == ("b", "a", 0)
    damaged = [
        "",
        "b",
        "b a",
        "b a x",
        "\0\0\0",
        "../x a 0",
        "lib . -",
        "a /sd 1",
        "a . -7",
        "a . 1_0",
        "a . +1",
    ]
    for text in damaged + [". a 2", "a a 1", "a . 1 2", "a b %s" % ("1" * 40)]:
        clean()
        write("slot", text)
        assert slot.read() == (".", ".", slot.CONFIRMED), text
    clean()


def test_version_numbers_have_up_to_20_digits():
    for version in (1, 999_999_999_999, 1_764_000_000_000, 10**20 - 1):
        clean()
        install("a", version)
        assert slot.read_version("a") == version
        assert Device().state["version"] == version
    for text in ("", "x", "-5", "7.0", "7e0", "+7", "1_0", "0x7", "1" * 21, "1" * 40, "\0", "7 8"):
        clean()
        install("a", 0)
        write("a/version", text)
        assert slot.read_version("a") == 0, text
    clean()


# ---- confirmation and rollback


def test_a_version_is_confirmed_after_being_connected_for_a_time():
    clean()
    install("a", 5, tries=1)
    device = Device(30)
    device.client.is_connected = False
    device.run()
    device.client.is_connected = True
    device.run(10_000)
    device.run(29_999)
    assert slot.read() == ("a", ".", 1) and device.state["state"] == "trying"
    device.client.is_connected = False  # a lost connection restarts the confirmation period
    device.run()
    device.client.is_connected = True
    device.run(5_001)
    device.run(25_000)
    assert slot.read() == ("a", ".", 1)
    device.run(5_000)
    assert slot.read() == ("a", ".", slot.CONFIRMED) and device.state["state"] == "installed"
    clean()


def test_a_device_that_is_offline_is_not_kept_awake_by_its_update_state():
    clean()
    device = Device()
    device.client.is_connected = False
    device.run()
    assert not device.update.is_busy
    device.client.is_connected = True
    device.client.has_room = False
    device.run(1000)
    assert device.update.is_busy  # the state is not published yet
    device.client.has_room = True
    device.run(1000)
    assert not device.update.is_busy


def test_a_version_that_never_connects_is_rolled_back():
    clean()
    install("a", 5, tries=1)
    device = Device(30)
    device.client.is_connected = False
    device.run(599_999)
    assert slot.read() == ("a", ".", 1)
    raises(Resets, device.run, 1)
    assert slot.read() == (".", "a", slot.ROLLED_BACK)
    state = Device().state
    assert state["rolled_back"] == 5 and state["rolled_back_reason"] == "not confirmed within 10 min"
    clean()


def fails(*args):
    raise OSError(28)


def test_a_version_that_cannot_be_confirmed_or_rolled_back_on_flash_keeps_running():
    clean()
    install("a", 5, tries=1)
    before = slot.replace
    attempts = []

    def fail(*args):
        attempts.append(args)
        raise OSError(28)

    for is_connected in (True, False):
        device = Device(1)
        device.client.is_connected = is_connected
        slot.replace = fail
        try:
            for _ in range(700):
                device.run(1000)
        finally:
            slot.replace = before
        assert slot.read() == ("a", ".", 1) and device.update.trying
        assert 2 < len(attempts) < 20  # flash is not worn out by the attempts
        attempts.clear()
    device.client.is_connected = True
    for _ in range(65):
        device.run(1000)
    assert slot.read() == ("a", ".", slot.CONFIRMED)
    clean()


# ---- versions that were rolled back


def roll_back_version(version, folder="a", previous=".", reason=""):
    install(folder, version, previous, 3)
    slot.roll_back(reason)


def offer(version, force=False):
    """Start the device, offer a version, and return its state."""
    device = Device()
    sender = Sender(device, version=version, force=force)
    device.receive_offer(sender.offer)
    state = device.state
    if device.download:
        device.cancel()
    return state


def test_a_version_that_was_rolled_back_stays_refused_after_restarts_refusals_and_failed_downloads():
    clean()
    roll_back_version(5)
    for _ in range(3):
        device = Device()
        assert device.state["rolled_back"] == 5
        device.receive_offer(b"garbage")
        assert device.state["rolled_back"] == 5 and device.state["state"] == "refused"
        device.receive_offer(Sender(device, version=5).offer)
        assert device.state["state"] == "refused" and device.state["rolled_back"] == 5
        sender = Sender(device, version=6)
        device.receive_offer(sender.offer)
        assert device.state["state"] == "receiving" and device.state["rolled_back"] == 5
        for _ in range(200):
            device.run(1000)
        assert device.state["state"] == "failed" and device.state["rolled_back"] == 5
        reason = offer(5)["reason"]
        assert reason == "version 5 is not newer than 5, which was rolled back"
    clean()


def test_all_versions_up_to_the_highest_one_that_was_rolled_back_are_refused_unless_forced():
    clean()
    roll_back_version(9, reason="the first")
    roll_back_version(3, reason="the second")  # it was forced
    state = offer(9)
    assert state["rolled_back"] == 3 and state["rolled_back_reason"] == "the second"
    for version in (1, 3, 4, 9):
        assert offer(version)["state"] == "refused", version
    assert offer(10)["state"] == "receiving"
    for version in (4, 9):
        assert offer(version, force=True)["state"] == "receiving"
    clean()


def test_a_confirmed_version_clears_the_record_only_if_it_is_not_older():
    for version, remains in ((4, True), (9, False), (10, False)):
        clean()
        roll_back_version(9)
        install("a", version, tries=1)
        device = Device(1)
        device.run()
        assert device.state["rolled_back"] == 9
        device.run(1000)
        assert device.state["state"] == "installed" and ("rolled_back" in device.state) == remains
        assert (rollback.read()[0] == 9) == remains
        assert (offer(9)["state"] == "refused") and ("rolled_back" in Device().state) == remains
    clean()


def test_a_rollback_that_cannot_be_recorded_is_still_known_and_recorded_before_its_folder_is_used():
    clean()
    install("a", 5, tries=3)
    before = slot.replace

    def fail(path, text):
        if path == "rolled_back":
            raise OSError(28)
        before(path, text)

    slot.replace = fail
    try:
        slot.roll_back()
    finally:
        slot.replace = before
    assert slot.read() == (".", "a", slot.ROLLED_BACK) and not rollback.read()[0]
    assert Device().state["rolled_back"] == 5
    assert offer(5)["state"] == "refused" and offer(6)["state"] == "receiving"
    assert rollback.read()[:2] == (5, 5)
    assert offer(5)["state"] == "refused"
    clean()


def test_an_offer_to_the_version_that_runs_because_flash_failed_replaces_the_one_that_was_not_tried():
    for tries in (0, 3):
        clean()
        install("a", 5, tries=tries)
        before = slot.write
        slot.write = fails
        try:
            assert selected_slot() == "."
        finally:
            slot.write = before
        with open("slot") as file:
            assert file.read().startswith("a . ")
        assert offer(6)["state"] == "receiving"
        slot._unsaved = None
        assert slot.read() == (".", "a", slot.CONFIRMED)  # the folder that is deleted is not selected
        assert rollback.read()[0] == (5 if tries else 0)
    clean()


def test_the_reason_of_a_rollback_is_the_last_line_of_the_traceback():
    clean()
    write(
        "crash.txt", "Traceback (most recent call last):\n  File ...\nConfigError: config.json: x: missing\n"
    )
    roll_back_version(5)
    assert Device().state["rolled_back_reason"] == "ConfigError: config.json: x: missing"
    os.remove("crash.txt")
    roll_back_version(6)
    assert Device().state["rolled_back_reason"] == "no successful start"
    roll_back_version(7, reason="two\nlines " + "x" * 500)
    version, last, reason = rollback.read()
    assert (version, last, len(reason)) == (7, 7, 120) and reason.startswith("two lines")
    clean()


def test_a_damaged_record_does_not_prevent_updates():
    for text in ("", "5", "5 5", "x y z", "-5 5 z", "\0" * 50, "5" * 300, "1 %s z" % ("9" * 30)):
        clean()
        write("rolled_back", text)
        assert "rolled_back" not in Device().state, text
        assert offer(5)["state"] == "receiving"
    clean()
    os.mkdir("rolled_back")
    try:
        assert offer(5)["state"] == "receiving"
        roll_back_version(6)
        assert slot.read() == (".", "a", slot.ROLLED_BACK) and Device().state["rolled_back"] == 6
    finally:
        os.rmdir("rolled_back")
    clean()


# ---- the archive of a version


def test_an_archive_has_the_modules_and_folders_of_a_version():
    clean()
    files = (("app/new.mpy", b"first"), ("pins.mpy", b"pins"), ("umqtt5/optional/x.mpy", b"last"))
    create_version("a", files=files)
    with open("a/index", "ab") as file:
        for folder in ("app", "umqtt5", "umqtt5/optional"):
            file.write(build_record(folder))
    system = archive.Archive("a")
    for path, data in files:
        assert system.stat("/" + path)[0] == 0x8000
        with system.open("/" + path, "rb") as file:
            assert file.read(len(data)) == data
    for folder in ("/app", "/umqtt5", "/umqtt5/optional"):
        assert system.stat(folder)[0] == 0x4000
    for path in ("/", "", "/app/new", "/app/new.py", "/new.mpy", "/app/", "/pin.mpy", "/umqtt5/x.mpy"):
        assert raises(OSError, system.stat, path).args[0] == 2, path
        raises(OSError, system.open, path, "rb")


def test_a_key_across_two_records_is_not_found():
    path = "pins.mpy"
    key = build_record(path, 0)[:4]
    across = b"abc" + key + b"0123456" + b"abcde" + key + b"fghij"
    assert archive.find(across[3:], path) == 0 and archive.find(across[10:], path) == -1
    assert archive.find(b"a" + key + b"fg" + build_record(path, 9), path) == 7


def test_a_damaged_version_is_not_selected():
    """Another one runs, also if flash is read-only."""
    for damage in (b"", b"123456", None):
        for is_base_removed in (False, True):
            clean()
            create_version("b", 4)
            create_version("a", 5)
            slot.write("a", ".", slot.CONFIRMED)
            if is_base_removed:
                write("base_removed", "")
            if damage is None:
                os.remove("a/index")
            else:
                with open("a/index", "wb") as file:
                    file.write(damage)
            other = "b" if is_base_removed else "."
            assert selected_slot() == other
            assert slot.read() == (other, "a", slot.ROLLED_BACK)
            assert Device().update.rolled_back == 5  # not accepted again
    clean()


def test_without_the_files_of_the_cable_an_unreadable_slot_selects_the_older_complete_version():
    for versions, expected in (((5, 4), "b"), ((4, 5), "a"), ((5, 0), "a"), ((0, 5), "b"), ((0, 0), ".")):
        clean()
        for folder, version in zip(("a", "b"), versions):
            create_version(folder, version)
            if not version:
                os.remove(folder + "/version")
        assert slot.read() == (".", ".", slot.CONFIRMED)
        write("base_removed", "")
        assert slot.read() == (expected, expected, slot.CONFIRMED)
        assert selected_slot() == expected
        slot.write("a", "b", slot.CONFIRMED)
        assert slot.read() == ("a", "b", slot.CONFIRMED)
    clean()
