"""The pages for mqtt_as, Paho and MiniMQTT: their programs run, and they name what the originals have."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from host_tests.examples.snippets import expected_lines, read_snippets, start_snippet
from tools import broker
from tools.paths import BUILD, ROOT

PAGES = ("from-mqtt-as.md", "from-paho.md", "from-minimqtt.md")
# public names of the originals in the versions that the pages name
MQTT_AS = (
    "client_id server port user password keepalive ping_interval ssl ssl_params response_time clean_init "
    "clean max_repubs will queue_len subs_cb connect_coro wifi_coro ssid wifi_pw mqttv5 mqttv5_con_props "
    "gateway connect publish subscribe unsubscribe isconnected disconnect close broker_up wan_ok dprint "
    "DEBUG REPUB_COUNT queue up down"
)
PAHO = (
    "connect connect_async loop loop_start loop_stop loop_forever loop_read loop_write loop_misc want_write "
    "socket reconnect_delay_set disconnect is_connected username_pw_set tls_set tls_set_context "
    "tls_insecure_set ws_set_options will_set publish wait_for_publish subscribe unsubscribe on_message "
    "message_callback_add message_callback_remove on_connect on_connect_fail on_disconnect on_publish "
    "on_subscribe on_unsubscribe user_data_set max_inflight_messages_set max_queued_messages_set "
    "manual_ack_set ack"
)
MINIMQTT = (
    "deinit mqtt_msg will_set add_topic_callback remove_topic_callback on_message username_pw_set connect "
    "disconnect ping publish subscribe unsubscribe reconnect loop is_connected enable_logger disable_logger "
    "on_connect on_disconnect on_publish on_subscribe on_unsubscribe"
)
ORIGINALS = list(zip(PAGES, (MQTT_AS, PAHO, MINIMQTT)))


def first_column(page: str) -> str:
    """Return the names of the original: the first column of all tables of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return "\n".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("| "))


@pytest.mark.parametrize(("page", "names"), ORIGINALS)
def test_the_tables_have_each_name_of_the_original(page: str, names: str) -> None:
    found = set(re.findall(r"\w+", first_column(page)))
    assert [name for name in names.split() if name not in found] == []


def test_minimqtt_has_no_other_names() -> None:
    path = BUILD / "peers" / "MiniMQTT" / "adafruit_minimqtt" / "adafruit_minimqtt.py"
    if not path.exists():
        pytest.skip("make bench has not installed MiniMQTT")
    source = path.read_text()
    methods = set(re.findall(r"^    def ([a-z]\w+)\(", source.partition("\nclass MQTT:")[2], re.MULTILINE))
    callbacks = set(re.findall(r"self\.(on_\w+) = None", source))
    assert methods | callbacks == set(MINIMQTT.split())


def test_mqtt_as_has_no_other_names() -> None:
    folder = os.environ.get("MQTT_AS_FOLDER")
    if not folder:
        pytest.skip("set MQTT_AS_FOLDER to a folder with the newest mqtt_as")
    source = Path(folder, "mqtt_as", "__init__.py").read_text()
    config = set(re.findall(r"^    \"(\w+)\": ", source, re.MULTILINE))
    assert config <= set(MQTT_AS.split())


@pytest.mark.parametrize("interpreter", ["vm", "cpython"])
@pytest.mark.parametrize("page", PAGES)
def test_the_program_of_a_page_prints_what_its_comments_say(
    page: str, interpreter: str, any_broker: broker.Address, tmp_path: Path
) -> None:
    (snippet,) = read_snippets(f"docs/{page}")
    with start_snippet(tmp_path, interpreter, snippet, any_broker) as running:
        running.wait()
    assert list(running.lines) == expected_lines(snippet) and running.lines


@pytest.mark.parametrize("page", PAGES)
def test_the_arguments_that_the_pages_name_exist(page: str) -> None:
    """Each `name=` and `name(` in the column of umqtt5 is a name of the library."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    cells = [line.split(" | ", 1)[1] for line in text.splitlines() if line.startswith("| `")]
    code = " ".join(re.findall(r"`([^`]+)`", " ".join(cells)))
    used = set(re.findall(r"\b([a-z]\w+)(?:=(?!=)|\()", code)) - {"str", "handler", "decode"}
    stubs = "\n".join(path.read_text() for path in (ROOT / "lib" / "umqtt5").rglob("*.pyi"))
    known = set(re.findall(r"\b([a-z]\w+)\b", stubs))
    assert sorted(used - known) == []
    assert len(used) > 10
