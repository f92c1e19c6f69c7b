"""`make bench`: its result files, and the figures that do not depend on the machine (no rates)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from host_tests.vms import run_64
from tools.bench import aliases, command, instructions, peers, recorded, table
from tools.bench.clients import CLIENTS, MQTT_AS, OURS, VM_FOLDER, compile_file, prepare_client
from tools.bench.measure import RESULT_KEYS
from tools.bench.peers import PeerUnavailable
from tools.bench.targets import MAX_HEAP_KB, evaluate_targets
from tools.paths import ROOT


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("bench")
    options = ["--quick", "--client", "baseline", "--markdown", "--out", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "tools", "bench", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr  # each requirement is met, on every computer
    assert "| umqtt5 | baseline |" in done.stdout, done.stdout + done.stderr
    return json.loads((folder / "bench.json").read_text())


def test_the_results_have_every_figure_for_every_client(results: dict) -> None:
    assert set(results["clients"]) == {"umqtt5", "baseline"}
    for client in results["clients"].values():
        assert tuple(client) == RESULT_KEYS
        assert all(figure is not None and figure >= 0 for figure in client.values())
        assert all(client[key] > 0 for key in RESULT_KEYS if key.endswith("_per_s"))
    assert results["skipped"] == {}


def test_umqtt5_allocates_nothing_per_message(results: dict) -> None:
    ours = results["clients"]["umqtt5"]
    assert {key: ours[key] for key in RESULT_KEYS if key.endswith("_bytes") and key != "wire_bytes"} == {
        "qos0_bytes": 0,
        "qos1_bytes": 0,
        "qos2_bytes": 0,
        "received_bytes": 0,
        "idle_bytes": 0,
    }
    # nor anything that is freed at once
    assert set(results["allocated_total"]["umqtt5"].values()) == {0}


def test_umqtt5_sends_a_message_in_one_write_with_eight_bytes_of_overhead(results: dict) -> None:
    ours = results["clients"]["umqtt5"]
    assert (ours["wire_bytes"], ours["writes"]) == (8, 1)


def test_scaling_is_measured_with_1_10_and_100_items(results: dict) -> None:
    assert {"subscriptions", "topics", "inflight"} <= set(results["scaling"])
    for per in results["scaling"].values():
        assert set(per) == {"1", "10", "100"} and min(per.values()) > 0


def test_a_message_with_an_identifier_is_dispatched_as_fast_with_100_subscriptions(results: dict) -> None:
    times = results["scaling"]["subscriptions"]
    assert times["100"] < 2 * times["1"]


def test_topic_aliases_save_more_bytes_than_they_cost(results: dict) -> None:
    """Other policies cost more than they save if a hundred topics are used in turn."""
    saved = results["aliases"]
    assert saved["round_robin"]["umqtt5"] > 0 > saved["round_robin"]["least_recently_used"]
    assert saved["zipf"]["umqtt5"] > saved["zipf"]["least_recently_used"] > saved["zipf"]["rotation"]


def test_the_journal_allocates_nothing_and_batches_its_writes(results: dict) -> None:
    found = results["journal"]
    assert set(found) == {"qos1_each", "qos1_batch", "qos2_each", "qos2_batch"}
    for figures in found.values():
        assert figures["allocated"] == figures["allocated_total"] == 0
        assert figures["per_s"] > 0 and figures["erases"] > 0
        # the message, its topic, and two records' overhead (message and acknowledgement)
        assert figures["bytes"] > len("building-7/room-12/humidity") + 32 + 2 * 10
    for qos in ("qos1", "qos2"):
        assert found[qos + "_batch"]["syncs"] < found[qos + "_each"]["syncs"]
        assert found[qos + "_batch"]["erases"] < found[qos + "_each"]["erases"]


def test_the_smallest_heap_is_between_8_and_128_kb(results: dict) -> None:
    assert 8 < results["heap"]["smallest_kb"] <= 128


def test_a_missed_requirement_decides_the_exit_code_and_a_missed_goal_does_not(results: dict) -> None:
    found = {one.name: one for one in evaluate_targets(results)}
    goal = found["heap for import, connect and 100 publishes: at most 32 KB"]
    assert not goal.is_met and not goal.is_required
    required = [one for one in found.values() if one.is_required]
    assert len(required) == 4 and all(one.is_met for one in required)
    larger = {**results, "heap": {"smallest_kb": MAX_HEAP_KB + 1}}
    assert [one.is_met for one in evaluate_targets(larger) if one.is_required] == [True, True, True, False]
    tables = table.markdown(larger).split("\n\n")
    (requirements,) = [text for text in tables if text.startswith("| requirement |")]
    assert requirements.count("| met |") == 3 and requirements.count("| not met |") == 1


def test_a_missed_requirement_is_named_and_ends_the_command_with_1(
    monkeypatch: pytest.MonkeyPatch, results: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    larger = {**results, "heap": {"smallest_kb": None}}
    monkeypatch.setattr(command._Bench, "run", lambda self, root, port: larger)
    with pytest.raises(typer.Exit) as ended:
        command.main(quick=True, client=["baseline"], markdown=True, out=tmp_path)
    assert ended.value.exit_code == 1
    assert (
        f"not met: heap for import, connect and 100 publishes: at most {MAX_HEAP_KB} KB"
        in capsys.readouterr().err
    )


def test_recorded_figures_are_marked_and_have_every_figure(results: dict) -> None:
    (client,) = [one for one in CLIENTS if one.name == MQTT_AS]
    figures, note = recorded.read_figures(client)
    assert tuple(figures) == RESULT_KEYS
    assert (
        0.1
        < figures["qos0_per_s"] / float(re.findall(r"published ([\d,]+) QoS", note)[0].replace(",", ""))
        < 1
    )
    text = table.markdown(
        {**results, "clients": {**results["clients"], MQTT_AS: figures}, "recorded": {MQTT_AS: note}}
    )
    assert "| umqtt5 | baseline | mqtt_as \\* |" in text and f"\\* {note}." in text
    assert re.search(r"mqtt_as \d+\.\d+\.\d+ was measured on \d{4}-\d\d-\d\d", text)


def test_figures_of_a_clone_are_recorded_with_version_and_date(tmp_path: Path) -> None:
    (client,) = [one for one in CLIENTS if one.name == MQTT_AS]
    path = tmp_path / "recorded.json"
    clients = {"umqtt.simple": {"qos0_per_s": 100000.0}, MQTT_AS: {"qos0_per_s": 43000.0}}
    recorded.write_figures(MQTT_AS, "0.8.3", {"clients": clients}, path)
    figures, note = recorded.read_figures(client, path)
    assert figures == {"qos0_per_s": 43000.0}
    assert "mqtt_as 0.8.3 was measured" in note and "100,000 QoS 0 messages/s" in note


def test_the_version_of_a_clone_is_read_from_its_source(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("import gc\nVERSION = (0, 8, 3)\n")
    assert peers.version_in_source(tmp_path / "__init__.py") == "0.8.3"
    (tmp_path / "__init__.py").write_text("\n")
    with pytest.raises(PeerUnavailable, match="no line such as"):
        peers.version_in_source(tmp_path / "__init__.py")
    with pytest.raises(PeerUnavailable, match="nowhere.py"):
        peers.version_in_source(tmp_path / "nowhere.py")


def test_the_alias_policies_save_the_bytes_calculated_by_hand() -> None:
    """First one topic of 10 bytes, then nine in turn, for which eight aliases never help."""
    assert aliases.least_recently_used([0] * 5, 10) == aliases.rotation([0] * 5, 10) == 4 * 10 - 5 * 3
    in_turn = list(range(9)) * 2
    assert aliases.least_recently_used(in_turn, 10) == aliases.rotation(in_turn, 10) == -18 * 3
    # topic 0 is used again before the ninth topic, so only `least_recently_used` keeps its alias
    assert aliases.least_recently_used([*range(8), 0, 8, 0], 10) == 2 * 10 - 11 * 3
    assert aliases.rotation([*range(8), 0, 8, 0], 10) == 10 - 11 * 3


def test_a_peer_that_cannot_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test needs no network, because the index of pip is an empty folder."""
    pinned = tmp_path / "pinned"
    pinned.mkdir()
    (pinned / "nothing.txt").write_text("no-such-peer==1.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(peers, "REQUIREMENTS", pinned)
    monkeypatch.setattr(peers, "BUILD", tmp_path)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, tmp_path.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(PeerUnavailable, match="no-such-peer"):
        peers.fetch("nothing")


def test_every_peer_is_pinned_with_a_hash() -> None:
    for client in CLIENTS:
        if client.packages and not client.repository:
            lines = (peers.REQUIREMENTS / f"{client.name}.txt").read_text().splitlines()
            assert lines and all("==" in line and "--hash=sha256:" in line for line in lines)


def test_only_the_tables_between_the_markers_of_the_page_are_replaced(tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    page.write_text("before\n" + command.BEGIN + "old\n" + command.END + "after\n")
    command.write_docs("new\n", page)
    command.write_docs("new\n", page)
    assert page.read_text() == "before\n" + command.BEGIN + "\nnew\n\n" + command.END + "after\n"


def test_the_output_names_the_version_of_each_other_client() -> None:
    for client in CLIENTS:
        if client.packages and not client.repository:
            assert peers.version(client.name)[0].isdigit()
    assert peers.version("umqtt.simple") == "1.3.4"
    line = table._versions({"versions": {"a": "a 1.0 (old)", "b": "b 2"}})
    assert line == "Versions: a 1.0 (old), b 2."


@pytest.mark.parametrize("kind", instructions.KINDS)
def test_the_program_whose_instructions_are_counted_runs(kind: str, tmp_path: Path) -> None:
    ours = next(client for client in CLIENTS if client.name == OURS)
    prepare_client(ours, tmp_path)
    compile_file(VM_FOLDER, VM_FOLDER / "instructions.py", tmp_path)
    assert run_64(["-m", "instructions", OURS, kind, "20"], [tmp_path]) == "done\n"


def test_the_table_of_instructions_has_each_kind_of_message() -> None:
    page = command.DOCS.read_text()
    section = page.partition(instructions.BEGIN)[2].partition(instructions.END)[0]
    assert re.findall(r"^\| ([^|]+) \| [\d,]+ \| (?:-|[\d,]+) \|$", section, re.M) == list(instructions.KINDS)
    figures = {kind: {OURS: 1234.0, "umqtt.simple": None} for kind in instructions.KINDS}
    assert instructions.render(figures).count("| 1,234 | - |") == len(instructions.KINDS)
