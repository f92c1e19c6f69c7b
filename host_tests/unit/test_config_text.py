"""Errors in the text of config.json, and in the names of hosts and Wi-Fi networks, are named in one line."""

import json
import os

from test_config import GOOD, Board, Pins, changed, line

from app import config_text
from app.config import config
from app.config_names import find_host_error, find_wifi_error
from helper import raises

PATH = "test-config-text.json"


def load(data):
    with open(PATH, "wb") as file:
        file.write(data)
    try:
        return config.load(PATH, Pins)
    finally:
        os.remove(PATH)


def error(data):
    text = str(raises(config.ConfigError, load, data))
    assert text.startswith(PATH + ": ") and "\n" not in text
    return text[len(PATH) + 2 :]


def test_valid_json_is_accepted():
    for text in (
        b"{}",
        b' { "a" : [ ] , "b" : { } } ',
        b'{"a": [1, -1, 0, 1.5, 1e3, 1E+3, 0.1e-2, true, false, null, ""]}',
        b'{"a": "\\"\\\\\\/ \\u00e9 \xc3\xa9 \xf0\x9f\x98\x80"}',
    ):
        assert config_text.check(text) == text
    assert (
        config_text.check(b'["\\ud83d\\ude00", "\\uD83D\\uDE00x"]')
        == b'["\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80x"]'
    )
    assert load(json.dumps(GOOD).encode())["device"] == "kitchen"


def test_text_that_is_not_json_is_refused():
    """Among these are texts that the `json` module of MicroPython accepts."""
    texts = b"""
        { } [ [1 {"a"} {"a":} {"a"~1} {"a":1,} {"a":1~"b":2} [1,] [1~2] [,1] {1:2} {a:1} {'a':1} tru True [01]
        [1.] [.5] [+1] [1e] [0x1] [--1] [1]] {}{} {"a":1}x ["a ["\\x"] ["\\u12"] ["\\u12g4"] [1]// ["a|b"]
    """.split()
    for text in [b"", b" ", b"[]\xff"] + texts:
        text = text.replace(b"~", b" ").replace(b"|", b"\n")
        text = str(raises(ValueError, config_text.check, text))
        assert text.startswith("not JSON; check commas, quotes and brackets"), text
    assert error(b'{\n"device": "a",\n"broker" {}}').endswith("brackets near line 3")


def test_a_field_that_occurs_twice_is_named():
    for text, name in (
        (b'{"device": "a", "device": "b"}', "device"),
        (b'{"broker": {"host": "a", "h\\u006fst": "a"}}', "broker.host"),
        (b'{"sensors": [{}, {"kind": "load", "kind": "load"}]}', "sensors[1].kind"),
    ):
        assert error(text) == name + ": this field occurs twice, remove one"
    assert config_text.check(b'[{"a": {"a": 1}}, {"a": 1}]')


def test_characters_that_no_field_can_contain_are_named():
    for escape, kind in (
        (b"\\u0000", "NUL"),
        (b"\\u0007", "a control character"),
        (b"\\n", "a control character"),
        (b"\x1b", "a control character"),
        (b"\x7f", "a control character"),
    ):
        assert error(b'{"broker": {"password": "x' + escape + b'y"}}') == (
            "broker.password: contains %s, remove it" % kind
        )
        assert "the name of a field: contains" in error(b'{"' + escape + b'": 1}')
    assert error(b'{\n"device": "a\0b"}') == "contains NUL in line 2, remove it"
    for half in (b"\\ud83d", b"\\ude00", b"\\ud83d\\u0041", b"\\ude00\\ud83d", b"\xed\xa0\xbd"):
        assert (
            error(b'{"device": "' + half + b'"}') == "device: contains half of a character (a lone surrogate)"
        )


def test_numbers_that_are_not_finite_are_named():
    for word in (b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf"):
        assert error(b'{"health": ' + word + b"}") == "health: %s, expected a number" % str(word, "utf-8")
    assert error(b'{"health": 1e999}') == "health: 1e999 is too large"


def test_the_encoding_and_the_size_are_checked():
    good = json.dumps(GOOD).encode()
    assert error(b"\xef\xbb\xbf" + good) == "begins with a byte order mark: save it as UTF-8 without BOM"
    assert error(b"\xff\xfe{\0}\0") == error(b"\xfe\xff\0{\0}") == "is UTF-16: save it as UTF-8"
    assert error(b'{"device": "\xe9"}') == "not UTF-8: save it as UTF-8"
    assert error(good + b" " * config._MAX_SIZE).endswith(" bytes, expected at most 24576")
    assert error(b"[" * 100).endswith(": nested too deeply")


class NoMemory:
    """Replacement for `open` whose file does not fit into memory."""

    def __init__(self, path, mode):
        pass

    def __enter__(self):
        raise MemoryError

    def __exit__(self, *error):
        pass


def test_a_board_without_memory_for_the_text_reports_this():
    config.open = NoMemory
    try:
        assert error(b"{}") == "too large for the memory of this board"
    finally:
        del config.open


def test_a_folder_in_place_of_the_file_is_reported():
    os.mkdir(PATH)
    try:
        text = str(raises(config.ConfigError, config.load, PATH, Pins))
    finally:
        os.rmdir(PATH)
    assert text.startswith(PATH + ": ") and "read" in text or "JSON" in text


def test_a_number_in_quotes_or_text_without_quotes_gets_a_hint():
    for broker, expected in (
        ({"host": "b", "port": "1883"}, 'broker.port: "1883", expected a port number, without quotes'),
        ({"host": 5}, "broker.host: 5, expected a host name or an IP address, in quotes"),
        ({"host": "b", "password": 12345678}, "broker.password: ..., expected a password, in quotes"),
        ({"host": "b", "port": "x"}, 'broker.port: "x", expected a port number'),
    ):
        assert line(changed(broker=broker)) == expected
    assert line(changed(watchdog="true")) == 'watchdog: "true", expected true or false, without quotes'


def test_a_misplaced_field_is_named_with_its_place():
    assert line(changed(ssid="x")) == "ssid: unknown here, write it as wifi.ssid"
    assert line(changed(host="x")) == "host: unknown here, write it as broker.host"
    assert line(changed(sensrs=[])).startswith("sensrs: unknown, expected one of ")


def test_a_value_in_the_place_of_an_object_does_not_show_secrets():
    for value in ({"password": "hunter2!"}, [{"password": "hunter2!"}]):
        assert "hunter2!" not in line(changed(broker=[value]))
        assert "hunter2!" not in line(changed(device=value))
    assert len(line(changed(device="x" * 5000))) < 200


def test_a_host_with_more_than_a_name_is_refused_with_what_to_write():
    name = 'only the host name or IP address: write "b.local"'
    for host, expected in (
        ("mqtt://b.local", name),
        ("b.local:1883", name + ", and broker.port: 1883"),
        ("mqtts://b.local:8883/", name + ", and broker.port: 8883, and broker.tls for TLS"),
        ("b.local/mqtt", name),
        (" b.local", name),
        ("b.local\n", name),
        ("b .local", name),
        ("tcp://[fe80::1]:1883", 'only the host name or IP address: write "fe80::1", and broker.port: 1883'),
        ("[::1]", 'only the host name or IP address: write "::1"'),
    ):
        assert find_host_error(host) == expected, host
    assert find_host_error("pool.ntp.org:123", "") == 'only the host name or IP address: write "pool.ntp.org"'
    text = line(changed(broker={"host": "mqtt://me:hunter2!@b.local"}))
    assert "hunter2!" not in text and 'write "b.local", and broker.user' in text
    assert line(changed(broker={"host": "b:1"})) == (
        'broker.host: "b:1", expected only the host name or IP address: write "b", and broker.port: 1'
    )
    assert line(changed(ntp=["a", "http://x"])).startswith('ntp[1]: "http://x", expected only the host name')
    assert line(changed(ntp=[5])) == "ntp[0]: 5, expected a host name"


def test_host_names_and_addresses():
    for host in (
        "b",
        "b.local",
        "b.local.",
        "192.168.1.10",
        "my_broker",
        "a-b.c9",
        "::1",
        "fe80::1%wlan0",
        "xn--bcher-kva.de",
    ):
        assert find_host_error(host) is None, host
    for host in (
        "1.2.3",
        "1.2.3.256",
        "1.2.3.4.5",
        "-a",
        "a-",
        "a..b",
        ".a",
        "b\xfccher.de",
        "a" * 64,
        "a,b",
        "::g",
        "//",
        "mqtt://",
    ):
        assert find_host_error(host), host


def test_wifi_names_and_passwords_that_no_network_has_are_refused():
    for password in ("", "x" * 8, "x" * 63, "0123456789abcdefABCDEF" * 2 + "0" * 20, "p\xe4sswort"):
        assert find_wifi_error({"ssid": "home", "password": password}) is None
    for password in ("x", "x" * 7, "x" * 64, "0" * 63 + "g", "\xe4" * 32, "\xe4\xe4\xe4"):
        assert find_wifi_error({"ssid": "home", "password": password})[0] == "password", password
    assert find_wifi_error({"ssid": "\xe4" * 16, "password": ""}) is None
    assert find_wifi_error({"ssid": "\xe4" * 17, "password": ""}) == (
        "ssid",
        "at most 32 bytes in UTF-8, these are 34",
    )
    text = line(changed(wifi={"ssid": "home", "password": "hunter2"}), Board)
    assert (
        text
        == 'wifi.password: ..., expected 8 to 63 characters, or 64 hexadecimal digits; "" for an open network'
    )
    assert line(changed(wifi={"ssid": "x" * 33}), Board).endswith(
        "the name of the Wi-Fi network, 1 to 32 bytes"
    )
