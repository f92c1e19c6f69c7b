"""The download of an update: chunks, the manifest, the limits of flash and time, installation."""

import os

import slot
from app import update_download
from helper import raises
from update_device import FILES, Device, Resets, Sender, clean, create_version, digest, read_installed

TWO_FILES = (("app/new.mpy", b"new" * 500), ("pins.mpy", b"pins"))


def start(files=FILES, **options):
    """Start a device and a download; returns (device, sender)."""
    clean()
    device = Device()
    sender = Sender(device, files, **options)
    device.receive_offer(sender.offer)
    device.run()
    return device, sender


def fail(device, sender):
    """Run a download that must fail, and return the reason. Nothing of the update remains."""
    sender.serve()
    state = device.state
    assert state["state"] == "failed" and state["offer"] == sender.tag
    assert "a" not in os.listdir() and "b" not in os.listdir() and "slot" not in os.listdir()
    assert "p/dut/update/chunk" not in device.client.handlers
    return state["reason"]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def test_a_version_is_selected_after_all_files_are_stored():
    device, sender = start(TWO_FILES)
    raises(Resets, sender.serve)
    assert slot.read() == ("a", ".", 0) and slot.read_version("a") == 5
    for path, data in TWO_FILES:
        assert read_installed("a", path, len(data)) == data
    assert read("a/files") == b"".join([data for _, data in TWO_FILES])
    state = Device().state
    assert state["version"] == 5 and state["state"] == "trying"
    assert "p/dut/update/chunk" not in device.client.handlers
    clean()


def test_the_state_names_the_offer_and_the_restart():
    device, sender = start()
    assert device.state["offer"] == sender.tag and device.state["offered"] == 5
    raises(Resets, sender.serve)
    last = device.client.sent[-1][1]
    assert '"restarting"' in last and sender.tag in last
    clean()


def test_repeated_and_unrequested_chunks_are_ignored():
    device, sender = start()
    device.receive_chunk(sender.chunk(0, 99))  # at an offset that the device did not request
    sender.parts.append(b"hello")
    device.receive_chunk(sender.chunk(2, 0))
    half = sender.chunk(0, 0, 40)
    device.receive_chunk(half)
    device.receive_chunk(half)
    device.receive_chunk(sender.chunk(0, 40, 10), retain=True)
    device.run()
    device.run(5000)
    assert device.requests[-1] == [0, 40, sender.tag]  # requests the missing rest
    raises(Resets, sender.serve)
    clean()


def test_chunks_of_others_and_of_earlier_offers_are_ignored():
    device, recorded = start()
    chunk = recorded.chunk(0, 0)
    device.cancel()
    sender = Sender(device, version=6)
    device.receive_offer(sender.offer)
    assert device.state["offered"] == 6
    own = sender.chunk(0, 0)
    forged = [chunk, own[8:], b"\0" * 8 + own[8:], own[:14], own[:13], b"", own[:-1], own + b"x", own[:8]]
    for i in range(len(own)):
        changed = bytearray(own)
        changed[i] ^= 1 << i % 8
        forged.append(bytes(changed))
    for payload in forged:
        device.receive_chunk(payload)
        assert device.download._at == 0 and not device.download._error, payload
    raises(Resets, sender.serve)
    clean()


def test_a_download_times_out_after_2_minutes_without_data():
    device, sender = start()
    for _ in range(119):
        device.run(1000)
    assert device.download
    for _ in range(2):
        device.run(1000)
    assert device.state["reason"] == "no data received for 2 minutes"
    assert "a" not in os.listdir() and slot.read() == (".", ".", slot.CONFIRMED)
    assert not [topic for topic in device.client.handlers if topic.endswith("chunk")]


def test_a_download_that_never_ends_is_given_up_after_an_hour():
    device, sender = start((("app/new.mpy", b"slow" * 500),))
    at, number = [0, 0], 0
    for minute in range(61):
        device.run(59_000)
        device.receive_chunk(sender.chunk(number, at[number], 1))
        at[number] += 1
        device.run(1000)
        assert bool(device.download) == (minute < 59), minute
    assert device.state["reason"] == "not complete after 1 h"
    assert "a" not in os.listdir()


def test_a_write_error_fails_the_update():
    device, sender = start()

    class Full:
        def write(self, data):
            raise OSError(28)

        def close(self):
            pass

    device.download._file.close()
    device.download._file = Full()
    assert "28" in fail(device, sender)


def test_a_repeated_offer_continues_and_a_new_offer_restarts_the_download():
    device, sender = start()
    device.receive_chunk(sender.chunk(0, 0, 40))
    device.receive_offer(sender.offer)
    assert device.download._at == 40
    other = Sender(device, (("app/other.mpy", b"other"),), 6)
    device.receive_offer(other.offer)
    assert device.download._at == 0
    device.run()
    raises(Resets, other.serve)
    assert slot.read_version("a") == 6 and read("a/files") == b"other"
    clean()


def test_a_new_offer_that_cannot_be_started_ends_the_download():
    device, sender = start()
    mkdir = update_download.os.mkdir
    other = Sender(device, version=6)

    class NoFolders:
        def __getattr__(self, name):
            if name == "mkdir":
                raise OSError(30)
            return getattr(os, name)

    import sys

    module = sys.modules["app.update_download"]
    module.os = NoFolders()
    try:
        device.receive_offer(other.offer)
    finally:
        module.os = os
    state = device.state
    assert state["state"] == "refused" and "30" in state["reason"] and not device.download
    device.run(10_000)
    assert mkdir and device.state["state"] == "refused"
    clean()


# ---- the manifest


def line(path="app/x.mpy", data=b"hello", size=None, sha256=None):
    return "%s %s %s\n" % (len(data) if size is None else size, sha256 or digest(data), path)


def reject(text):
    """Return the reason why a manifest is refused."""
    if not isinstance(text, bytes):
        text = text.encode()
    device, sender = start((), manifest=text)
    return fail(device, sender)


def test_only_compiled_files_in_the_known_folders_are_allowed():
    paths = [
        "../config.mpy",
        "/app/node.mpy",
        "boot.py",
        "slot.mpy",
        "archive.mpy",
        "rollback.mpy",
        "config.json",
        "app/../x.mpy",
        "lib/x.mpy",
    ]
    paths += [
        "app/.mpy",
        ".mpy",
        "app//x.mpy",
        "./x.mpy",
        "app",
        "app/",
        "app/x.MPY",
        "app/X.mpy",
        "App/x.mpy",
    ]
    paths += [
        "app/x.mpy.mpy",
        "app\\x.mpy",
        "app/x\t.mpy",
        "app/" + "x" * 36 + ".mpy",
        "a/app/x.mpy",
        "umqtt5/y/x.mpy",
    ]
    paths += ["\u00e4.mpy", "app/x\0.mpy", "umqtt5/optional", "app/x.mpy/y.mpy", "", "version", "manifest"]
    for path in paths:
        assert "not allowed" in reject(line(path)), path
    for path in (
        "x.mpy",
        "app/" + "x" * 35 + ".mpy",
        "umqtt5/optional/x_1.mpy",
        "sensors/x.mpy",
        "actuators/x.mpy",
    ):
        device, sender = start(((path, b"hello"),))
        raises(Resets, sender.serve)
        assert read_installed("a", path, 5) == b"hello"
    clean()


def test_lines_that_do_not_have_three_fields_are_refused():
    expected = "line 1 of the manifest: expected size, SHA-256 and path"
    for text in ("\n", "5\n", "5 6\n", line("app/x.mpy "), line("app/x.mpy x"), " " + line(), line()[:-1]):
        assert reject(text) == expected, text
    assert reject(b"5 \xff\xff x.mpy\n") == expected
    assert reject("x" * 3000) == expected
    assert reject(line("app/" + "x" * 200 + ".mpy")) == expected
    assert "not allowed" in reject(line("app/x.mpy\r"))
    for size in ("-5", "0", "5.0", "5e0", "+5", "5_0", "0x5", "1048577", "9" * 30, ""):
        assert "not allowed" in reject(line(size=size)), size


def test_files_must_be_in_ascending_order_so_no_file_is_named_twice():
    for paths in (("app/x.mpy", "app/x.mpy"), ("b.mpy", "a.mpy"), ("a.mpy", "c.mpy", "a.mpy")):
        reason = reject("".join([line(path) for path in paths]))
        assert reason.endswith("is not in ascending order"), paths


def test_the_number_of_files_and_the_size_of_the_manifest_are_limited():
    names = ["f%03d.mpy" % i for i in range(251)]
    assert reject("".join([line(name) for name in names])) == "more than 250 files"
    device, sender = start(tuple([(name, b"hello") for name in names[:250]]))
    raises(Resets, sender.serve)
    assert read("a/files") == b"hello" * 250
    assert [read_installed("a", name, 5) for name in names[:250]] == [b"hello"] * 250
    clean()


def test_an_update_that_does_not_fit_into_flash_is_refused_with_the_numbers():
    import sys

    device, sender = start((("app/x.mpy", b"x" * 40_000), ("app/y.mpy", b"y" * 100)))
    module = sys.modules["app.update_download"]
    before = module.os

    class SmallFlash:
        free = 18

        def __getattr__(self, name):
            return getattr(os, name)

        def statvfs(self, path):
            return 4096, 4096, 256, self.free, self.free, 0, 0, 0, 0, 255

    module.os = SmallFlash()
    try:
        reason = fail(device, sender)
        assert reason == "the update needs 77824 bytes of flash, 73728 are free"
        # only the manifest was requested
        requests = [number for number, _, _ in device.requests]
        assert set(requests) <= {0}
        SmallFlash.free = 19
        device, sender = start((("app/x.mpy", b"x" * 40_000), ("app/y.mpy", b"y" * 100)))
        raises(Resets, sender.serve)
    finally:
        module.os = before
    clean()


def test_a_file_in_place_of_the_folder_of_the_slot_is_replaced():
    clean()
    write("a", b"a file")
    device = Device()
    raises(Resets, Sender(device).send)
    assert slot.read() == ("a", ".", 0)
    clean()


# ---- installation


def copy_until_verified(device, sender):
    """Serve a download until its files are complete but not verified yet."""
    download = device.download
    for _ in range(100):
        if download._step == download._verify:
            return
        requests = device.requests
        number, at, _ = requests[-1]
        device.receive_chunk(sender.chunk(number, at, 5000))
        device.run()
    raise AssertionError


def test_files_that_change_on_flash_before_the_installation_are_found():
    def change(path, data):
        device, sender = start(TWO_FILES)
        copy_until_verified(device, sender)
        write("a/" + path, data)
        return fail(device, sender)

    good = b"new" * 500
    assert change("files", good[:-1] + b"Wpins") == "app/new.mpy was changed on flash"
    assert change("files", good[1:] + b"pins") == "app/new.mpy was changed on flash"
    assert change("files", good + b"Pins") == "pins.mpy was changed on flash"
    assert change("files", good + b"pin") == "pins.mpy was changed on flash"
    assert change("manifest", line("pins.mpy", b"pins").encode()) == "the manifest was changed on flash"
    device, sender = start(TWO_FILES)
    copy_until_verified(device, sender)
    os.remove("a/files")
    assert fail(device, sender)  # the number of ENOENT depends on the port
    device, sender = start(TWO_FILES)
    copy_until_verified(device, sender)
    raises(Resets, sender.serve)
    clean()


def test_a_copied_file_that_differs_from_its_source_is_found():
    clean()
    if "app" not in os.listdir():
        os.mkdir("app")
    write("app/new.mpy", b"new" * 500)
    try:
        device, sender = start(TWO_FILES)
        copy_until_verified(device, sender)
        write("a/files", b"old" * 500 + b"pins")
        assert fail(device, sender) == "app/new.mpy was changed on flash"
        device, sender = start(TWO_FILES)
        sent = []
        sender.chunk = lambda number, at, size: sent.append(number) or Sender.chunk(sender, number, at, size)
        raises(Resets, sender.serve)
        assert 1 not in sent and read("a/files") == b"new" * 500 + b"pins"
    finally:
        os.remove("app/new.mpy")
        os.rmdir("app")
    clean()


def test_a_version_number_that_changes_on_flash_is_found():
    device, sender = start()
    before = slot.read_version
    slot.read_version = lambda folder: 4
    try:
        assert fail(device, sender) == "the index or the version number was changed on flash"
    finally:
        slot.read_version = before
    clean()


def test_a_slot_that_cannot_be_written_fails_the_update():
    device, sender = start()
    before = slot.replace

    def full(*args):
        raise OSError(28)

    slot.replace = full
    try:
        assert "28" in fail(device, sender)
    finally:
        slot.replace = before
    clean()


def test_an_error_of_the_network_after_the_installation_does_not_undo_it():
    device, sender = start()

    def disconnect():
        raise OSError(104)

    device.client.disconnect = disconnect
    raises(Resets, sender.serve)
    assert slot.read() == ("a", ".", 0) and sorted(os.listdir("a")) == ["files", "index", "version"]
    clean()


def test_one_call_of_run_copies_or_reads_one_file_because_the_watchdog_must_be_fed():
    clean()
    names = ["f%d.mpy" % i for i in range(5)]
    for name in names:
        write(name, b"same")
    try:
        device, sender = start(tuple([(name, b"same") for name in names]))
        device.receive_chunk(sender.chunk(0, 0, 5000))
        counts = []
        original = device.download._read
        device.download._read = lambda *args: counts.append(args) or original(*args)
        for _ in range(8):
            before = len(counts)
            device.run()
            assert len(counts) - before <= 2  # compared with the source, and copied
    finally:
        for name in names:
            os.remove(name)
    clean()


def test_a_network_that_is_lost_during_the_restart_does_not_prevent_it():
    device, sender = start()

    def lose(*args, **options):
        device.client.is_connected = False
        return 0

    copy_until_verified(device, sender)
    device.client.publish = lose
    device.client.is_connected = False
    raises(Resets, sender.serve)
    assert slot.read() == ("a", ".", 0)
    clean()


# ---- room in flash


class LimitedFlash:
    """`os` with a file system that has `blocks` blocks for modules, each of which takes one block."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.removed = []

    def __getattr__(self, name):
        return getattr(os, name)

    def statvfs(self, path):
        count = 0
        for folder in BASE_FOLDERS:
            if folder.split("/")[-1] in os.listdir(folder.rpartition("/")[0] or "."):
                count += len([name for name in os.listdir(folder) if name[-4:] == ".mpy"])
        return 4096, 4096, 256, self.blocks - count, self.blocks - count, 0, 0, 0, 0, 255

    def remove(self, path):
        os.remove(path)
        self.removed.append(path)


BASE_FOLDERS = ("umqtt5", "umqtt5/optional", "app", "sensors", "actuators")


def install_base():
    """Create the files that `make deploy` installs, and other files beside them."""
    for folder in BASE_FOLDERS:
        os.mkdir(folder)
        for name in ("x.mpy", "y.mpy"):
            write(folder + "/" + name, b"base")
    write("pins.mpy", b"base")
    write("sensors/own.txt", b"keep")


def load_module():
    """Return the module that the next update uses: it is released after each one."""
    import sys

    __import__("app.update_download")
    return sys.modules["app.update_download"]


def remove_base():
    for folder in ("app", "actuators", "sensors", "umqtt5"):
        update_download._clear(folder)
    os.remove("pins.mpy")


def run_on_limited_flash(blocks, test):
    """Call `test(flash)` on a device with the files of the cable."""
    module = load_module()
    module.os = flash = LimitedFlash(blocks)
    clean()
    try:
        install_base()
        test(flash)
    finally:
        module.os = os
        remove_base()
        clean()


def test_without_room_for_three_versions_the_one_of_the_cable_is_removed():
    def check(flash):
        create_version("a", 3)
        slot.write("a", ".", slot.CONFIRMED)
        device = Device()
        raises(Resets, Sender(device, TWO_FILES).send)
        left = [path for path in flash.removed if path[:2] != "b/"]
        assert left[0][:4] == "app/" and len(left) == 10  # all, because a part of a version is useless
        assert os.listdir("sensors") == ["own.txt"] and read("pins.mpy") == b"base"
        assert slot.read() == ("b", "a", 0) and "base_removed" in os.listdir()
        os.mkdir("app")
        write("app/x.mpy", b"the power failed during the removal")
        flash.blocks = 99
        slot.write("b", "a", slot.CONFIRMED)
        raises(Resets, Sender(Device(), TWO_FILES, 6).send)
        assert "app" not in os.listdir()
        os.remove("slot")
        os.remove("b/version")
        assert slot.read()[0] == "a" and slot.read_version("a") == 6

    run_on_limited_flash(16, check)

    def check_all(flash):
        create_version("a", 3)
        slot.write("a", ".", slot.CONFIRMED)
        device = Device()
        sender = Sender(device, TWO_FILES)
        device.receive_offer(sender.offer)
        sender.serve()
        assert device.state["reason"] == "the update needs 40960 bytes of flash, 36864 are free"
        assert os.listdir("sensors") == ["own.txt"] and "app" not in os.listdir()
        assert read("pins.mpy") == b"base" and slot.read() == ("a", ".", slot.CONFIRMED)

    run_on_limited_flash(9, check_all)


def test_with_room_the_version_of_the_cable_stays():
    def check(flash):
        create_version("a", 3)
        slot.write("a", ".", slot.CONFIRMED)
        raises(Resets, Sender(Device(), TWO_FILES).send)
        assert not [path for path in flash.removed if path[:2] != "b/"]
        assert "base_removed" not in os.listdir()

    run_on_limited_flash(20, check)


def test_the_version_of_the_cable_is_never_removed_while_it_runs():
    def check(flash):
        device = Device()
        sender = Sender(device, TWO_FILES)
        sender.send()
        assert device.state["reason"] == "the update needs 40960 bytes of flash, 24576 are free"
        assert not [path for path in flash.removed if path[:2] != "a/"]

    run_on_limited_flash(16, check)


def test_nothing_is_removed_if_the_removal_cannot_be_recorded():
    def check(flash):
        create_version("a", 3)
        slot.write("a", ".", slot.CONFIRMED)
        device = Device()
        sender = Sender(device, TWO_FILES)

        def fail_open(path, *mode):
            if path == "base_removed":
                raise OSError(28)
            return open(path, *mode)

        load_module().open = fail_open
        sender.send()
        assert "28" in device.state["reason"]
        assert not [path for path in flash.removed if path[:2] != "b/"]

    run_on_limited_flash(16, check)


def test_files_whose_paths_cannot_be_told_apart_are_refused():
    module = load_module()
    device, sender = start((("app/x.mpy", b"x"), ("app/y.mpy", b"y")))
    before = module.crc32

    def collide(*paths):
        module.crc32 = module.archive.crc32 = lambda path: 7 if path in paths else before(path)

    try:
        collide(b"app/x.mpy", b"app/y.mpy")
        assert fail(device, sender) == "app/y.mpy has the same CRC-32 as another file: rename it"
        module = load_module()
        device, sender = start((("app/x.mpy", b"x"), ("app/y.mpy", b"y")))
        collide(b"app", b"app/y.mpy")
        assert fail(device, sender) == "app/y.mpy has the same CRC-32 as another file: rename it"
    finally:
        module.archive.crc32 = before
    clean()


def test_a_device_whose_slot_module_is_older_refuses_the_update():
    clean()
    load_module().archive = None
    device = Device()
    device.receive_offer(Sender(device).offer)
    reason = "the device has an older slot.mpy: install this version by cable, make deploy"
    assert device.state["reason"] == reason and not device.download
    update_module = load_module()
    update_module.archive = __import__("archive")
    clean()
