from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DESCRIPTION = """\
name = "greenhouse-{number:03}"
count = 3
board = "esp32"
prefix = "farm"
health = 30

[broker]
host = "localhost"
tls = true

[wifi]
ssid = "home"
password = "never print this"

[credentials]
password = true
certificate = true

[[sensors]]
kind = "chip_temperature"
period = 1

[[actuators]]
name = "pump"
pin = "relay"
"""

WriteDescription = Callable[..., Path]


@pytest.fixture
def write_description(tmp_path: Path) -> WriteDescription:
    """A function that writes a fleet.toml with parts of the text replaced, and returns its path."""

    def write(*changes: tuple[str, str]) -> Path:
        text = DESCRIPTION
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "fleet.toml"
        path.write_text(text)
        return path

    return write
