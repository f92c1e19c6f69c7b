"""The tables in docs/from-umqtt-simple.md list each public name of the originals, and our classes have it."""

from __future__ import annotations

import ast
import inspect
import os
import re
from pathlib import Path

import pytest

from tools.paths import ROOT

PAGE = (ROOT / "docs" / "from-umqtt-simple.md").read_text()
# public attributes and methods of umqtt.simple 1.8.0 and umqtt.robust 1.0.3
SIMPLE = set(
    "MQTTClient MQTTException client_id sock server port ssl ssl_params pid cb user pswd keepalive "
    "lw_topic lw_msg lw_qos lw_retain set_callback set_last_will connect disconnect ping publish "
    "subscribe unsubscribe wait_msg check_msg".split()
)
ROBUST = set("DELAY DEBUG delay log reconnect publish wait_msg check_msg".split())


def rows(module: str) -> dict[str, str]:
    """Return the first column of a table: name, and its arguments or an empty string."""
    section = PAGE.partition(f"### `{module}`")[2].partition("\n### ")[0]
    found = re.findall(r"^\| `(\w+)(?:\((.*?)\))?` \|", section, re.MULTILINE)
    return dict(found)


def test_the_tables_have_each_name_of_the_originals() -> None:
    assert set(rows("umqtt.simple")) == SIMPLE and set(rows("umqtt.robust")) == ROBUST


@pytest.mark.parametrize("module", ["simple", "robust"])
def test_our_classes_have_the_names_and_arguments_of_the_tables(module: str) -> None:
    from umqtt5 import robust, simple

    client = {"simple": simple, "robust": robust}[module].MQTTClient("c", "h")
    for name, arguments in rows(f"umqtt.{module}").items():
        if name == "MQTTClient":
            assert str(inspect.signature(simple.MQTTClient)) == f"({arguments})"
        elif name == "MQTTException":
            assert issubclass(simple.MQTTException, Exception)
        elif callable(getattr(client, name)):
            assert str(inspect.signature(getattr(client, name))) == f"({arguments})", name
        else:
            assert name in ("DELAY", "DEBUG", *vars(client)) or name == "sock"


def public_names(tree: ast.Module) -> set[str]:
    """Return the classes of a module, and the names that their methods define or set on `self`."""
    names = set()
    for part in (one for one in tree.body if isinstance(one, ast.ClassDef)):
        names.add(part.name)
        for node in ast.walk(part):
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
        names |= {t.id for one in part.body if isinstance(one, ast.Assign) for t in one.targets}  # type: ignore[attr-defined]
    return {name for name in names if not name.startswith("_")}


def test_the_newest_originals_have_no_other_names() -> None:
    folder = os.environ.get("UMQTT_FOLDER")
    if not folder:
        pytest.skip("set UMQTT_FOLDER to a folder with the newest umqtt")
    simple, robust = (
        ast.parse((Path(folder) / "umqtt" / f"{n}.py").read_text()) for n in ("simple", "robust")
    )
    assert public_names(simple) == SIMPLE
    assert public_names(robust) - {"MQTTClient"} == ROBUST
