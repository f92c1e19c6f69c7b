"""A short run of the chaos test, and tests of its checks. `make chaos` runs longer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from host_tests.chaos import faults, invariants
from host_tests.chaos.broker import Connection, matches
from host_tests.chaos.command import list_lives
from host_tests.chaos.configs import BOARDS, KEY, Setup, make_setup
from host_tests.chaos.controller import RESPONSE_TOPIC
from host_tests.chaos.faults import Episode, Fault, make_schedule
from host_tests.chaos.life import Life
from host_tests.chaos.network import BROKER_ADDRESS, Link
from host_tests.chaos.outputs import Output
from host_tests.chaos.packets import Publish
from host_tests.chaos.recorder import Result
from host_tests.chaos.updates import UpdateServer, build
from host_tests.chaos.world import DAY, HOUR, MINUTE, SECOND, World

CONFIG = {
    "device": "dut",
    "wifi": {"ssid": "home", "password": "secret-password"},
    "broker": {"host": "broker.lan", "keep_alive": 30},
    "ntp": ["time.lan"],
    "health": 120,
    "sensors": [
        {"kind": "analog", "name": "level", "pin": 33, "period": 60, "qos": 1, "precision": 6, "samples": 1},
        {"kind": "pulse", "name": "water", "pin": 5, "period": 60},
    ],
    "actuators": [
        {"kind": "switch", "name": "lamp", "pin": "lamp", "safe": "OFF", "safe_after": 60, "max_on": 60,
         "min_off": 5, "interlock": ["relay"]},
        {"kind": "valve", "name": "relay", "pin": "relay", "safe_after": 60, "inverted": True,
         "interlock": ["lamp"]},
    ],
    "update": {"key": KEY, "confirm": 10},
    "dedup_on_flash": True,
    "journal": 8192,
    "power": {"mode": "on"},
}  # fmt: skip


def make_life(folder: Path, schedule: list[Episode], hours: float, **changes: object) -> Life:
    setup = Setup(BOARDS[0], "littlefs", {**CONFIG, **changes})
    return Life(1, 1, 1, folder, until=int(hours * HOUR), setup=setup, schedule=schedule)


def schedule_each(names: list[str], seed: int) -> list[Episode]:
    """Return a schedule in which each fault happens once, alone."""
    rng = random.Random(seed)
    episodes = []
    now = 3 * MINUTE
    for number, name in enumerate(names):
        ends = now + min(faults.DURATIONS.get(name, 90 * SECOND), 12 * MINUTE)
        fault = Fault(number, name, now, ends, rng.getrandbits(40))
        episodes.append(Episode((fault,), ends, ends + 11 * MINUTE))
        now = ends + 11 * MINUTE
    return episodes


def texts(result: Result) -> list[str]:
    return [str(finding) for finding in result.findings]


def test_a_device_starts_and_can_be_reached_without_time_and_name_servers(tmp_path: Path) -> None:
    life = make_life(tmp_path, [], 0.4, broker={"host": BROKER_ADDRESS, "keep_alive": 30})
    life.network.dns = life.network.ntp = "silent"
    result = life.run()
    assert texts(result) == []
    assert result.answers > 5 and result.boots == 1


@pytest.mark.timeout(400)
@pytest.mark.parametrize("half", [0, 1])
def test_a_device_survives_each_kind_of_fault(half: int, tmp_path: Path) -> None:
    names = faults.NAMES[half::2]
    schedule = schedule_each(names, 7)
    result = make_life(tmp_path, schedule, schedule[-1].ends / HOUR).run()
    assert texts(result) == []
    assert sorted(result.faults) == sorted(names)
    assert result.boots > 3 and result.answers > 100 and result.connects > 5


def test_a_device_that_cannot_be_reached_without_a_fault_is_found(tmp_path: Path) -> None:
    life = make_life(tmp_path, [], 0.5)
    life.world.at(MINUTE, lambda: setattr(life.network, "is_unreachable", True))
    assert "not reachable 10 minutes after all faults were healed [no fault]" in texts(life.run())[0]


def test_the_watchdog_ends_the_program_if_a_fault_blocks_it(tmp_path: Path) -> None:
    life = make_life(tmp_path, [], 0.1)
    life.world.at(30 * SECOND, lambda: life.network.set_access_point(False))
    life.world.at(30 * SECOND, lambda: setattr(life.network, "radio_hang_ms", 12000))
    result = life.run()
    assert result.ends["watchdog"] >= 1


def test_the_same_seed_repeats_the_same_life(tmp_path: Path) -> None:
    figures = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fault = Fault(0, "power cuts in a row", 2 * MINUTE, 12 * MINUTE, 5)
        result = make_life(tmp_path / name, [Episode((fault,), 12 * MINUTE, HOUR)], 0.4).run()
        figures.append((result.boots, result.messages, result.answers, result.connects, texts(result)))
    assert figures[0] == figures[1]


class Findings:
    """An output with its findings."""

    def __init__(self, **config: object) -> None:
        self.world = World()
        self.found: list[str] = []
        settings = {"name": "pump", "kind": "switch", "safe": "OFF", "safe_after": 60, **config}
        self.output = Output(self.world, settings, self.found.append, lambda: 0)

    def drive(self, *steps: tuple[int, int]) -> list[str]:
        """Drive levels at times in seconds, and return the findings a minute later."""
        for seconds, level in steps:
            self.world.run_until(seconds * SECOND)
            self.output.drive(level)
        self.world.run_until(self.world.now + MINUTE)
        return self.found


def test_an_output_that_is_on_for_longer_than_max_on_is_found() -> None:
    assert Findings(max_on=10).drive((0, 0), (1, 1), (11, 0)) == []
    assert "max_on" in Findings(max_on=10).drive((0, 0), (1, 1), (15, 0))[0]
    # a repeated ON does not hide it
    assert "max_on" in Findings(max_on=10).drive((0, 0), (1, 1), (9, 1), (15, 0))[0]


def test_an_output_that_is_on_again_before_min_off_is_found() -> None:
    assert Findings(min_off=10).drive((0, 0), (1, 1), (2, 0), (12, 1)) == []
    assert "min_off" in Findings(min_off=10).drive((0, 0), (1, 1), (2, 0), (11, 1))[0]


def test_an_inverted_output_that_is_on_at_the_first_drive_is_found() -> None:
    assert "first drive" in Findings(inverted=True).drive((0, 0))[0]
    assert Findings(inverted=True).drive((0, 1)) == []


def test_interlocked_outputs_that_are_both_on_are_found() -> None:
    one, two = Findings(), Findings()
    two.output.world = one.world
    two.output.others = [one.output]
    one.output.drive(0)
    two.output.drive(0)
    one.output.drive(1)
    two.output.drive(1)
    one.world.run_until(10 * SECOND)
    assert "interlock" in two.found[0]


def test_an_output_that_is_on_while_the_device_is_offline_for_long_is_found() -> None:
    found = Findings()
    found.output.drive(0)
    found.output.drive(1)
    found.output.check_offline(100 * SECOND, 30)
    assert found.found == []
    found.output.check_offline(200 * SECOND, 30)
    assert "still on" in found.found[0]


def test_a_message_may_be_lost_only_while_the_device_says_that_its_flash_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = "dut: journal: EIO; unsent messages are lost at a restart"
    works = "dut: journal: flash works again"
    for lines, lost in (
        ([failed], False),
        ([failed, works], True),
        ([failed, works, failed], False),
        ([], True),
    ):
        life = make_life(tmp_path, [], 5)
        life.device.handlers["a"](b"umqtt5/dut/sensor/level\x001.5")
        monkeypatch.setattr(life.device, "output_of_start", lambda lines=lines: lines)
        life.invariants.on_end("cut by a fault")
        life.world.run_until(3 * HOUR)
        assert ("an accepted message was lost" in " ".join(texts(life.result))) is lost, lines


def test_a_toggle_that_is_executed_twice_is_found_unless_the_first_was_refused_as_too_old(
    tmp_path: Path,
) -> None:
    too_old = {"ok": False, "error": "not executed: the device was offline"}
    for answer, is_found in (
        ({"ok": True}, True),
        ({"ok": False, "error": "min_off"}, True),
        (too_old, False),
    ):
        life = make_life(tmp_path, [], 5)
        relay = life.outputs["relay"]
        relay.config = {**relay.config, "max_on": 0}
        relay.drive(0)
        life.controller._send_twice("relay")
        (command,) = life.controller.commands.values()
        command.answer = answer
        life.broker.publish = lambda message, relay=relay: relay.drive(1)
        life.world.run_until(2 * MINUTE)
        assert ("executed twice" in " ".join(texts(life.result))) is is_found, answer


def test_a_disconnect_with_an_error_is_found_unless_the_device_has_received_garbage(tmp_path: Path) -> None:
    for has_sent_garbage in (False, True):
        life = make_life(tmp_path, [], 5)
        connection = Connection(life.broker, Link(life.network, 1))
        connection.has_sent_garbage = has_sent_garbage
        connect = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03dut"
        connection.receive(connect + b"\xe0\x01\x81")
        assert bool(texts(life.result)) is not has_sent_garbage


def test_a_config_that_cannot_be_read_is_found_unless_the_flash_fails_meanwhile(tmp_path: Path) -> None:
    for fault, is_found in (("", True), ("DNS silent", True), ("flash fails", False)):
        life = make_life(tmp_path, [], 5)
        if fault:
            life.recorder.active_faults[1] = fault
        life.device.handlers["r"](b'[40000, "[Errno 5] EIO", 0]')
        assert bool(texts(life.result)) is is_found, fault


def test_a_version_that_was_rolled_back_or_never_offered_is_found() -> None:
    found: list[str] = []
    life = type("Broker", (), {"observers": []})()
    server = UpdateServer(World(), life, random.Random(1), "esp32", found.append, print)
    server.offered = {1: "good", 2: "crash at import"}
    server.check_running(1)
    assert found == []
    server.rolled_back.add(2)
    server.check_running(2)
    server.check_running(3)
    assert len(found) == 2


def test_each_fault_of_a_schedule_is_healed_before_the_check() -> None:
    for seed in range(20):
        for episode in make_schedule(random.Random(seed), 2 * DAY, False):
            assert all(fault.ends <= episode.healed_at for fault in episode.faults)
            assert episode.ends - episode.healed_at > 11 * MINUTE


def test_random_setups_use_each_pin_once_and_every_kind() -> None:
    kinds = set()
    for seed in range(200):
        setup = make_setup(random.Random(seed), False)
        pins = [item["pin"] for item in setup.config["actuators"]]
        assert len(set(pins)) == len(pins)
        kinds |= {item["kind"] for item in setup.config["actuators"] + setup.config["sensors"]}
    assert {"switch", "valve", "light", "servo", "pixels", "analog", "pulse", "digital"} <= kinds


def test_the_days_of_a_run_are_divided_into_lives_without_a_gap() -> None:
    for days in (1, 8, 14, 15, 30, 44):
        lives = list(list_lives(days))
        assert sum(length for _, length in lives) == days
        assert all(day + length == lives[i + 1][0] for i, (day, length) in enumerate(lives[:-1]))


def test_topic_filters_match_as_in_the_standard() -> None:
    assert matches("a/+/c", "a/b/c") and matches("a/#", "a/b/c") and matches("a/#", "a") and matches("a", "a")
    assert not matches("a/+", "a/b/c") and not matches("a", "ab") and not matches("a/b", "a")


def test_kinds_of_findings_do_not_depend_on_figures() -> None:
    assert invariants.kind_of("on for 12 s [3 DNS silent]") == invariants.kind_of("on for 7 s [no fault]")


def test_an_update_with_all_files_of_a_board_is_within_the_limits() -> None:
    for board in BOARDS:
        assert len(build(board.key, "good").files) > 50


def test_a_command_that_is_not_answered_is_found(tmp_path: Path) -> None:
    life = make_life(tmp_path, [], 0.3)
    deliver = life.broker.observers.copy()

    def drop_answers(publish: Publish) -> None:
        if publish.topic != RESPONSE_TOPIC or life.world.now < 8 * MINUTE:
            for observer in deliver:
                observer(publish)

    life.broker.observers[:] = [drop_answers]
    assert "was not answered" in " ".join(texts(life.run()))
