"""Tools: lint, size budgets, stack frames of hot functions, command line, broker URLs, import rules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import broker, size, stack_frames
from tools.board import definition
from tools.bundle.compiler import compile_package
from tools.device_config import config
from tools.paths import ROOT


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_lint_reports_no_error() -> None:
    done = run_tool("lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_size_measures_the_library_and_writes_its_results() -> None:
    done = run_tool("size")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((ROOT / "build" / "size.json").read_text())
    assert figures["core"]["mpy"] > 5000 and figures["core"]["heap"] > 5000


def test_each_exceeded_or_missing_budget_is_named() -> None:
    budgets = {"core": {"mpy": 10, "heap": 20}, "auth": {"mpy": 5, "heap": 5}}
    within = {"core": {"mpy": 10, "heap": 20}, "auth": {"mpy": 1, "heap": 1}}
    assert size.exceeded_budgets(within, budgets) == []
    lines = size.exceeded_budgets({"core": {"mpy": 11, "heap": 20}, "new": {"mpy": 1, "heap": 1}}, budgets)
    assert len(lines) == 3 and lines[0] == "core: 11 bytes of mpy exceed the budget of 10"


# functions that run for each message, ping or idle poll, by file on a board
HOT = {
    "core": (
        "publish _publish flush poll_once _run_round _run_poll_hooks _exchange _is_at_rest _tick _flush "
        "wait_for_stream receive_data parse handle_packet handle_publish replace_received_id "
        "_handle_publish_ack _report_ack "
        "prepare_read commit tick check_wait ping_if_idle confirm_write prepare_write "
        "publish_at_qos_0 publish_with_ack load_next_message plan_publish write_publish_header "
        "lower_first_byte _choose_alias _set_alias dispatch _call matches int_property find_property _walk "
        "_check_properties _parse_start _parse_publish_header _parse_properties _check_topic find_exact "
        "_reserve oldest free"
    ),
    "aio": (
        "run_once wrapper _check_waiters check_waiters _wake_queues _check_waiter remaining watch "
        "schedule wake _at _unpark _io _time _dequeue unwatch"
    ),
    "optional/topic_aliases": "resolve",
    "optional/enhanced_auth": "poll",
    "optional/manual_ack": "defer release ack _flush _poll",
    "request": "poll",
    "respond": "poll",
    "optional/strict": "check _exceeds_receive_maximum is_valid_text",
}


@pytest.mark.parametrize("file", HOT)
def test_the_frames_of_hot_functions_fit_on_the_stack(file: str, tmp_path: Path) -> None:
    compile_package(tmp_path, short_names=False)
    hot = set(HOT[file].split())
    found = [f for f in stack_frames.read_frames(tmp_path / "umqtt5" / f"{file}.mpy") if f.function in hot]
    assert {f.function for f in found} == hot
    assert [f for f in found if f.size_words > stack_frames.MAX_STACK_WORDS] == []


def test_help_lists_the_commands() -> None:
    done = run_tool("--help")
    assert done.returncode == 0
    for command in (
        "bench",
        "conformance",
        "decode-traceback",
        "demo",
        "lint",
        "mutants",
        "size",
        "stack-frames",
    ):
        assert command in done.stdout


def test_the_demo_imports_only_packages_pinned_in_its_requirements() -> None:
    """`make demo` installs only the packages in demo.txt."""
    code = (
        "import sys, importlib.metadata as m, tools.__main__, iotcore\n"
        "top = {name.partition('.')[0] for name in sys.modules}\n"
        "for name, found in m.packages_distributions().items():\n"
        "    if name in top: print(*found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pinned = (ROOT / "tools" / "requirements" / "demo.txt").read_text().lower().replace("_", "-")
    for name in done.stdout.lower().replace("_", "-").split():
        if name not in ("pip", "setuptools"):
            assert f"{name}==" in pinned, name


def test_broker_urls_are_parsed_and_invalid_ones_raise_an_error() -> None:
    assert broker.parse_url("mqtt://b") == broker.Address("b", 1883)
    assert broker.parse_url("mqtt://b:1") == broker.Address("b", 1)
    assert broker.parse_url("mqtt://m%40e@b:1") == broker.Address("b", 1, "m@e")
    assert broker.parse_url("mqtts://me@[::1]") == broker.Address("::1", 8883, "me", tls=True)
    for invalid in (
        *(
            "b",
            "http://b",
            "mqtt://",
            "mqtt://b:x",
            "mqtt://b:99999",
            "mqtt://[b",
            "mqtt://@b",
            "mqtt://%ff@b",
        ),
        *("mqtt://b/topic", "mqtt://a#c@b", "mqtt://a/c@b", "mqtt://b?x"),
    ):
        with pytest.raises(broker.BrokerError):
            broker.parse_url(invalid)


def test_an_import_in_the_wrong_direction_is_reported(tmp_path: Path) -> None:
    """Run the import linter on a copy of the tree with one such import."""
    for folder in ("lib", "firmware", "tools", "host_tests", "pyproject.toml"):
        subprocess.run(["cp", "-r", str(ROOT / folder), str(tmp_path)], check=True)
    wire = tmp_path / "lib" / "umqtt5" / "core" / "wire.py"
    wire.write_text("from .packet import Packet\n" + wire.read_text())
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"lib:firmware:{tmp_path}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "umqtt5.core.wire is not allowed to import" in done.stdout


@pytest.mark.parametrize("key", [key for key in definition.list_boards() if key != "host"])
@pytest.mark.parametrize("mode", ["on", "light", "deep"])
def test_the_config_check_accepts_each_power_mode_of_each_board(key: str, mode: str) -> None:
    settings = {
        "device": "d",
        "broker": {"host": "b"},
        "wifi": {"ssid": "s", "password": "12345678"},
        "power": {"mode": mode, "period": 60},
    }
    config.validate(settings, {}, definition.load_board(key))
