"""`make docs`: the site has all pages, its links lead somewhere, and its reference has each public name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.paths import ROOT

CONFIG = Path("tools") / "docs_site" / "mkdocs.yml"
SOURCES = ("docs", "examples", "lib", "tools", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def build_site(root: Path) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHONPATH=str(root), NO_MKDOCS_2_WARNING="1")
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(CONFIG)]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that the site is made of."""
    root = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__", "node_modules", "requirements")
    for name in (*SOURCES, "host_tests", "boards", "firmware"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, root)
    for name in ("pyproject.toml", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, root)
    return root


@pytest.fixture(scope="module")
def site(checkout: Path) -> Path:
    """The built site."""
    done = build_site(checkout)
    assert done.returncode == 0, done.stderr
    return checkout / "build" / "site"


def test_the_site_has_a_page_for_each_document_and_example(site: Path) -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        page = path.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / str(page).replace("README", "index")).exists(), page
    for path in (ROOT / "examples").glob("*.py"):
        assert (site / "examples" / path.name).with_suffix(".html").exists(), path.name
    assert "umqtt5" in (site / "index.html").read_text()


def test_pages_request_nothing_from_other_servers(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//|<link[^>]+stylesheet[^>]+href=\"?(?:https?:)?//"
    )
    assert [path.name for path in site.rglob("*.html") if loads.search(path.read_text())] == []


@pytest.mark.parametrize(
    "name",
    "Client.publish Client.on_state Client.request Client.timeout Subscription.reason MQTTError.code".split(),
)
def test_the_reference_documents_each_public_name(site: Path, name: str) -> None:
    page = (site / "reference" / "client.html").read_text()
    assert f'id="umqtt5.{name}"' in page
    entry = page.partition(f'id="umqtt5.{name}"')[2].partition('class="doc doc-object doc-')[0]
    assert re.search(r"doc-contents[^>]*>\s*<p>(\w|<code>)", entry), entry


def test_a_docstring_that_names_a_page_links_to_it(site: Path) -> None:
    page = (site / "reference" / "client.html").read_text()
    assert re.search(r'<a href="\.\./optional-features\.html">[\w ]+</a>', page)
    assert "docs/optional-features.md" not in page


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def copy_checkout(checkout: Path, folder: Path) -> Path:
    return shutil.copytree(checkout, folder / "checkout", ignore=shutil.ignore_patterns("build"))


def test_a_wrong_link_or_a_page_that_is_not_in_the_menu_ends_the_build(
    checkout: Path, tmp_path: Path
) -> None:
    root = copy_checkout(checkout, tmp_path)
    append(root / "docs" / "client.md", "\n[x](connection.md#no-heading-1)\n")
    append(root / "examples" / "README.md", "\n[x](../docs/client.md#no-heading-2)\n")
    append(root / "README.md", "\n[x](docs/no-page.md)\n")
    append(root / "docs" / "how-to" / "new-page.md", "# New\n")
    done = build_site(root)
    assert done.returncode != 0
    for text in ("no-heading-1", "no-heading-2", "no-page.md", "how-to/new-page.md"):
        assert text in done.stderr, text


def test_a_name_that_the_library_does_not_have_ends_the_build(checkout: Path, tmp_path: Path) -> None:
    root = copy_checkout(checkout, tmp_path)
    append(root / "docs" / "reference" / "client.md", "\n::: umqtt5.NoSuchName\n")
    done = build_site(root)
    assert done.returncode != 0 and "NoSuchName" in done.stderr
