"""The history of readings on disk: limits, damage, a full disk, other monitors; and its CSV file."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tests.board.rig import run_failing_tool
from tools.broker import Address
from tools.errors import UserError
from tools.monitor import history
from tools.monitor.csv_rows import HEADER, format_csv, guard_cell
from tools.monitor.device_state import DeviceState
from tools.monitor.history import HistoryStore
from tools.monitor.model import MonitorModel

NOW = 1_800_000_000.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock, reports: list[str]) -> Callable[..., HistoryStore]:
    def open_it(source: str = "broker", **options: float) -> HistoryStore:
        return HistoryStore(tmp_path / "h.sqlite3", source, reports.append, clock, **options)  # type: ignore[arg-type]

    return open_it


def test_readings_are_there_after_a_restart(
    open_store: Callable[..., HistoryStore], reports: list[str]
) -> None:
    store = open_store()
    for number in range(10):
        store.add(NOW + number, "d", "t", number / 4)
        store.add(NOW + number, "other", "t", -1)
    store.close()
    again = open_store()
    assert again.load("d", "t", 3) == [(NOW + 7, 1.75), (NOW + 8, 2.0), (NOW + 9, 2.25)]
    assert again.load("nobody", "t", 3) == []
    assert len(list(again.export())) == 20 and len(list(again.export("d"))) == 10
    assert reports == []
    mode = stat.S_IMODE(again.path.stat().st_mode)
    assert mode == 0o600
    again.close()


def test_two_monitors_of_different_brokers_share_the_file(open_store: Callable[..., HistoryStore]) -> None:
    first, second = open_store("a"), open_store("b")
    first.add(NOW, "d", "t", 1)
    second.add(NOW, "d", "t", 2)
    first.flush(force=True)
    second.flush(force=True)
    assert first.load("d", "t", 9) == [(NOW, 1)] and second.load("d", "t", 9) == [(NOW, 2)]
    assert list(first.export()) == [(NOW, "d", "t", 1)]


def test_readings_are_written_every_two_seconds(
    open_store: Callable[..., HistoryStore], clock: Clock
) -> None:
    store, reader = open_store(), open_store()
    store.flush()
    store.add(NOW, "d", "t", 1)
    clock.now += 1.9
    store.flush()
    assert reader.load("d", "t", 9) == []
    clock.now += 0.2
    store.flush()
    assert len(reader.load("d", "t", 9)) == 1
    store.add(NOW, "d", "t", 2)
    clock.now -= 86400  # the clock of the computer was set back
    store.flush()
    assert len(reader.load("d", "t", 9)) == 2


def test_old_readings_and_series_without_readings_are_deleted(
    open_store: Callable[..., HistoryStore], clock: Clock
) -> None:
    store = open_store(max_age=1000)
    store.add(NOW, "old", "t", 1)
    store.flush(force=True)
    clock.now += 500
    store.add(clock.now, "new", "t", 2)
    store.flush(force=True)
    clock.now += 501
    store.flush(force=True)
    assert [row[1] for row in store.export()] == ["new"]
    with sqlite3.connect(store.path) as database:
        assert database.execute("SELECT device FROM series").fetchall() == [("new",)]


def test_the_file_never_exceeds_its_limit(
    open_store: Callable[..., HistoryStore], reports: list[str]
) -> None:
    limit = 1 << 20
    store = open_store(max_bytes=limit)
    for part in range(40):
        for number in range(2000):
            store.add(NOW + part + number / 2000, f"device-{number % 50}", "temperature", number)
        store.flush(force=True)
        assert store.path.stat().st_size <= limit
    assert reports == []
    times = [at for at, *_ in store.export()]
    assert times[-1] > NOW + 39 and times[0] > NOW + 1  # the newest are kept
    store.close()
    files = sum(path.stat().st_size for path in store.path.parent.iterdir())
    assert files <= limit + (4 << 20)


@pytest.mark.parametrize("damage", ("text", "header", "middle", "truncated"))
def test_a_damaged_file_is_moved_aside(
    open_store: Callable[..., HistoryStore], reports: list[str], damage: str
) -> None:
    store = open_store()
    for number in range(5000):
        store.add(NOW + number, f"d{number % 9}", "t", number)
    store.close()
    path = store.path
    data = bytearray(path.read_bytes())
    if damage == "text":
        path.write_text("this is no database\n" * 100)
    elif damage == "header":
        data[:64] = bytes(64)
        path.write_bytes(data)
    elif damage == "middle":
        data[8192 : len(data) - 4096] = b"\xff" * (len(data) - 4096 - 8192)
        path.write_bytes(data)
    else:
        path.write_bytes(data[: len(data) // 2])
    again = open_store()
    again.add(NOW, "d", "t", 7)
    again.flush(force=True)
    assert again.load("d", "t", 9) == [(NOW, 7)]
    assert len(reports) == 1 and "It is now h.sqlite3.damaged, and a new file begins" in reports[0], reports
    assert path.with_name("h.sqlite3.damaged").exists()


def test_damage_while_the_monitor_runs_is_survived(
    open_store: Callable[..., HistoryStore], reports: list[str]
) -> None:
    store = open_store()
    for number in range(5000):
        store.add(NOW + number, f"d{number % 9}", "t", number)
    store.flush(force=True)
    assert store._database
    store._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._database.execute("PRAGMA shrink_memory")
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (store.path.stat().st_size - 4096))
    for number in range(3):
        store.add(NOW, "new", "t", number)
        store.load("d1", "t", 600)
        store.flush(force=True)
    assert len(store.load("new", "t", 9)) == 3
    assert any("It is now h.sqlite3.damaged" in text for text in reports), reports


def test_a_full_disk_is_reported_once_and_readings_are_kept_until_there_is_room(
    open_store: Callable[..., HistoryStore], reports: list[str], clock: Clock
) -> None:
    store = open_store()
    assert store._database
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(
        f"PRAGMA max_page_count = {pages}"
    )  # SQLite reports SQLITE_FULL, as on a full disk
    store._delete_old = lambda database: None  # type: ignore[method-assign]
    for _ in range(20):
        for number in range(500):
            store.add(NOW + number, "d", "t", number)
        clock.now += 31
        store.flush()
    assert len(reports) == 1 and "full: readings are not stored. Trying again" in reports[0], reports
    store._database.execute("PRAGMA max_page_count = 100000")
    clock.now += 31
    store.flush()
    assert reports[1:] == [f"history {store.path}: readings are stored again"]
    assert len(list(store.export())) == 20 * 500


def test_readings_that_wait_do_not_fill_the_memory(
    open_store: Callable[..., HistoryStore], tmp_path: Path, reports: list[str]
) -> None:
    path = tmp_path / "folder" / "h.sqlite3"
    (tmp_path / "folder").write_text("not a folder")
    store = HistoryStore(path, "broker", reports.append, Clock())
    for number in range(history._MAX_WAITING + 10):
        store.add(NOW, "d", "t", number)
    assert len(store._waiting) == history._MAX_WAITING
    assert len(reports) == 1 and "readings are not stored" in reports[0]
    assert list(store.export()) == []
    store.close()


def test_a_file_of_a_newer_version_is_left_as_it_is(
    open_store: Callable[..., HistoryStore], reports: list[str], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "h.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    before = (tmp_path / "h.sqlite3").read_bytes()
    store = open_store()
    store.add(NOW, "d", "t", 1)
    store.flush(force=True)
    assert len(reports) == 1 and "newer version. Choose another file with --history" in reports[0]
    assert (tmp_path / "h.sqlite3").read_bytes() == before


def test_a_database_of_another_program_is_left_as_it_is(
    open_store: Callable[..., HistoryStore], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "h.sqlite3") as database:
        database.execute("CREATE TABLE samples (a)")
    before = (tmp_path / "h.sqlite3").read_bytes()
    with pytest.raises(UserError, match="a database of another program. Choose another name"):
        open_store()
    assert (tmp_path / "h.sqlite3").read_bytes() == before


@pytest.mark.parametrize("kind", ("folder", "link", "pipe"))
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "h"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "target")
    else:
        os.mkfifo(path)
    with pytest.raises(UserError, match="not a regular file. Choose another name"):
        HistoryStore(path, "broker", print)
    assert not (tmp_path / "target").exists()
    output = run_failing_tool("monitor", "--broker", "mqtt://127.0.0.1:1", "--history", path)
    assert "not a regular file" in output


def test_the_chart_continues_with_the_stored_readings(tmp_path: Path) -> None:
    address = Address("127.0.0.1", 1)
    path = tmp_path / "h.sqlite3"
    first = MonitorModel(address, "p", [], history=path)
    state = first.monitor.devices.setdefault("d", DeviceState())
    for value in (1.0, 2.0):
        receive(first, state, value)
    first.close()
    second = MonitorModel(address, "p", [], history=path)
    state = second.monitor.devices.setdefault("d", DeviceState())
    receive(second, state, 3.0)
    assert list(state.readings["t"]) == [1, 2, 3] and len(state.timestamps["t"]) == 3
    receive(second, state, 4.0)
    assert list(state.readings["t"]) == [1, 2, 3, 4]
    assert [value for *_, value in second.export("d")] == [1, 2, 3, 4]
    second.close()


def receive(model: MonitorModel, state: DeviceState, value: float) -> None:
    """Do what happens when a reading arrives."""
    state.readings.setdefault("t", deque(maxlen=600)).append(value)
    state.timestamps.setdefault("t", deque(maxlen=600)).append(NOW)
    model._on_reading("d", "t", value)


@pytest.mark.parametrize(
    "text", ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", "-", "=cmd|' /C'!A0")
)
def test_no_cell_is_a_formula(text: str) -> None:
    assert guard_cell(text) == f"'{text}"
    rows = list(csv.reader(io.StringIO("".join(format_csv([(NOW, text, text, -1.5)])), newline="")))
    assert rows == [list(HEADER), ["2027-01-15T08:00:00.000+00:00", f"'{text}", f"'{text}", "-1.5", ""]]


def test_usual_names_and_numbers_stay_as_they_are() -> None:
    assert guard_cell("kitchen-1/air=x") == "kitchen-1/air=x"
    samples = [(NOW + n, "d", "air/temperature", n / 3) for n in range(1200)]
    parts = list(format_csv(samples))
    assert len(parts) == 3
    rows = list(csv.DictReader(io.StringIO("".join(parts), newline="")))
    assert len(rows) == 1200 and float(rows[1]["value"]) == pytest.approx(1 / 3) and rows[0]["unit"] == "°C"
