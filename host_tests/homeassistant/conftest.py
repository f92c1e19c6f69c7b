from __future__ import annotations

from collections.abc import Iterator

import pytest

from host_tests.homeassistant.installation import installed
from host_tests.homeassistant.server import HomeAssistant
from tools import broker


@pytest.fixture(scope="session")
def home_assistant(
    mosquitto: broker.Address, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HomeAssistant]:
    """One Home Assistant for all tests, because it takes long to start."""
    program = installed()
    if program is None:
        pytest.skip("Home Assistant is not installed. Try: make test-homeassistant")
    running = HomeAssistant(program, tmp_path_factory.mktemp("homeassistant"), mosquitto)
    try:
        yield running
    finally:
        running.stop()
