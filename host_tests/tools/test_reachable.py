"""The image of a board has the modules that its application can import, and no others of the library."""

from __future__ import annotations

from tools.bundle import bundler, image
from tools.bundle.reachable import drop_unreachable


def test_the_image_has_the_modules_of_the_library_that_the_application_can_import() -> None:
    whole, needed = (set(image.collect_sources("rpi_pico_w", whole)) for whole in (True, False))
    dropped = {path.removeprefix("umqtt5/").removesuffix(".py") for path in whole - needed}
    assert needed < whole and all(path.startswith("umqtt5/") for path in whole - needed)
    assert {"request", "optional/enhanced_auth"} <= dropped
    assert {"aio", "simple", "websocket", "serial", "robust", "scram", "stored_subscriptions"} <= dropped
    used = "core tls tcp dns journal respond reason_codes streaming_send optional/tls_errors"
    used += " optional/manual_ack optional/dns_message optional/property_rules optional/journal_recovery"
    assert not dropped & set(used.split())


def test_a_module_that_only_a_function_of_a_reachable_module_imports_stays() -> None:
    files = {
        "app/node.py": "def f():\n    from umqtt5 import tls\n",
        "umqtt5/__init__.py": "from .core.client import Client\n",
        "umqtt5/core.py": "def g():\n    from .optional import late\n    import umqtt5.optional.later\n",
        "umqtt5/tls.py": "from .optional.deep import name\n",
        "umqtt5/optional/__init__.py": "",
        "umqtt5/optional/late.py": "",
        "umqtt5/optional/later.py": "",
        "umqtt5/optional/deep.py": "from .. import tcp\n",
        "umqtt5/tcp.py": "",
        "umqtt5/aio.py": "from .optional import only_aio\n",
        "umqtt5/optional/only_aio.py": "from .. import aio\n",
    }
    assert set(files) - set(drop_unreachable(files)) == {"umqtt5/aio.py", "umqtt5/optional/only_aio.py"}


def test_a_program_that_imports_only_the_client_has_the_core() -> None:
    files = {f"umqtt5/{name}.py": source for name, source in bundler.bundle_sources().items()}
    files["main.py"] = "from umqtt5 import Client\n"
    needed = drop_unreachable(files)
    assert {"umqtt5/core.py", "umqtt5/tcp.py"} <= needed.keys()
    assert "umqtt5/aio.py" not in needed


def test_modules_that_are_imported_only_to_load_them_are_imported_on_the_board_too() -> None:
    """Without them, the first command after a fault of the flash could not be answered."""
    files = bundler.bundle_application()
    assert "import umqtt5.respond" in files["node"].splitlines()
    assert any(line.startswith("import umqtt5.optional.disconnect") for line in files["power"].splitlines())
