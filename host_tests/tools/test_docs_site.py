"""`make docs`: the site has all pages, its links lead somewhere, and its reference has each public name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from host_tests.types.test_stubs import public_modules
from tools.paths import ROOT

SOURCES = ("docs", "examples", "lib", "tools", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


@cache
def read_recipe() -> list[str]:
    """Return the command of `make docs`."""
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(["make", "-n", "docs"], cwd=ROOT, env=environment, capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if " -m mkdocs " in line]
    return shlex.split(line.partition("/python ")[2])


def build_site(root: Path) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHONPATH=str(root), NO_MKDOCS_2_WARNING="1")
    command = [sys.executable, *read_recipe()]
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
    # the theme asks api.github.com about a repository that it shows
    assert 'data-md-component="source"' not in (site / "index.html").read_text()


def test_each_file_that_a_page_loads_exists(site: Path) -> None:
    page = (site / "index.html").read_text()
    files = re.findall(r'<(?:link|script)[^>]+(?:href|src)="([^":#]+\.(?:css|js))"', page)
    assert len(files) > 3
    assert [name for name in files if not (site / name).exists()] == []


@pytest.mark.parametrize(
    "name",
    "Client.publish Client.on_state Client.request Client.timeout Subscription.reason MQTTError.code".split(),
)
def test_the_reference_documents_each_public_name(site: Path, name: str) -> None:
    page = (site / "reference" / "client.html").read_text()
    assert f'id="umqtt5.{name}"' in page
    entry = page.partition(f'id="umqtt5.{name}"')[2].partition('class="doc doc-object doc-')[0]
    assert re.search(r"doc-contents[^>]*>\s*<p>(\w|<code>)", entry), entry


def test_the_reference_has_each_public_module() -> None:
    text = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    for path in public_modules():
        stem = path.parent.name if path.name == "__init__.py" else path.stem
        name = "umqtt5" if stem == "umqtt5" else f"umqtt5.{stem}"
        assert re.search(rf"{name}\b", text), name


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


def test_code_in_lists_is_indented_so_that_each_renderer_shows_it() -> None:
    """Python-Markdown needs four spaces; with fewer, code becomes text."""
    for path in (*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "examples" / "README.md"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^ {1,3}```", text, re.MULTILINE), path
        assert not re.search(r"\n\n {5,7}\S", text), path
