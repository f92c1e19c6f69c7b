"""`make publisher`: one setting fills in the public address everywhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from host_tests.package.released_clone import Clone
from tools.errors import UserError
from tools.paths import ROOT
from tools.publisher import make_publisher, read_publisher, replace_address

NEW = make_publisher("https://codeberg.org/me-2/mqtt.five")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone") / "project")


def texts(root: Path) -> dict[str, str]:
    """Return the text of each file that is published, by name."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        skipped = (".git/", ".venv", "build/", "dist/", "host_tests/", "tools/requirements/")
        if (
            path.is_file()
            and not path.is_symlink()
            and not name.startswith(skipped)
            and "node_modules" not in name
        ):
            data = path.read_bytes()
            if b"\0" not in data:
                found[name] = data.decode()
    return found


def test_no_file_has_a_placeholder_for_the_address() -> None:
    placeholder = re.compile(r"\b(ORG|OWNER|USER|USERNAME)/(REPO|REPOSITORY)\b|\bexample/umqtt5\b")
    for name, text in texts(ROOT).items():
        assert not placeholder.search(text), name


def test_each_address_for_mip_in_the_documents_is_that_of_the_publisher() -> None:
    publisher = read_publisher()
    count = 0
    for name, text in texts(ROOT).items():
        if name.endswith(".md"):
            for address in re.findall(r"\b(?:github|gitlab|codeberg):[\w.-]+/[\w.-]+/lib\b", text):
                assert address == publisher.mip + "/lib", name
                count += 1
            for address in re.findall(r"--index (\S+)|index=\"([^\"]+)\"", text):
                assert "".join(address) == publisher.mip_index, name
                count += 1
    assert count >= 4


def test_one_command_writes_a_new_address_into_all_files_and_back(clone: Clone) -> None:
    old = read_publisher(clone.folder)
    output = clone.run("publisher", "--repository", NEW.repository)
    changed = clone.status()
    assert {"README.md", "docs/install.md", "pyproject.toml", "CONTRIBUTING.md"} <= set(changed)
    assert all(f"written: {name}\n" in output for name in changed)
    assert read_publisher(clone.folder) == NEW
    after = texts(clone.folder)
    for name, text in after.items():
        if name != "tools/publisher.py":  # which knows the default
            assert not [form for form in old.forms() if form in text], name
    assert "mpremote mip install codeberg:me-2/mqtt.five/lib" in after["docs/install.md"]
    assert "--index https://me-2.codeberg.page/mqtt.five/mip umqtt5" in after["docs/install.md"]
    clone.run("publisher", "--repository", old.repository)
    assert clone.status() == []


def test_the_site_may_be_elsewhere_and_without_options_the_address_is_shown(clone: Clone) -> None:
    clone.run("publisher", "--site", "https://docs.example.com/mqtt/")
    output = clone.run("publisher")
    assert "site:       https://docs.example.com/mqtt\n" in output
    assert "repository: https://github.com/umqtt5/umqtt5\n" in output
    clone.git("checkout", "--quiet", ".")


def test_a_longer_name_that_begins_like_the_address_is_not_replaced(tmp_path: Path) -> None:
    pyproject = (
        '[project.urls]\nRepository = "https://github.com/a/b"\nDocumentation = "https://a.github.io/b"\n'
    )
    (tmp_path / "pyproject.toml").write_text(pyproject)
    page = "https://github.com/a/b-tools github:a/bc github:a/b/lib https://github.com/a/b.\n"
    (tmp_path / "page.md").write_text(page)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    replace_address(tmp_path, NEW)
    expected = f"https://github.com/a/b-tools github:a/bc {NEW.mip}/lib {NEW.repository}.\n"
    assert (tmp_path / "page.md").read_text() == expected


@pytest.mark.parametrize(
    "address",
    [
        "github:a/b",
        "https://github.com/a",
        "https://example.com/a/b",
        "http://github.com/a/b",
        "https://github.com/a/b/c",
    ],
)
def test_an_address_from_which_mip_cannot_install_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="expected https://HOST/OWNER/NAME"):
        make_publisher(address)


def test_an_address_that_would_break_the_documents_is_refused() -> None:
    for site in ("docs.example.com", "https://docs.example.com/a b", 'https://docs.example.com/"'):
        with pytest.raises(UserError, match="SITE="):
            make_publisher("https://github.com/a/b", site)


def test_spellings_of_a_repository_mean_the_same() -> None:
    for address in ("https://github.com/Me/mqtt.git", "https://github.com/Me/mqtt/"):
        found = make_publisher(address)
        assert (found.repository, found.mip) == ("https://github.com/Me/mqtt", "github:Me/mqtt")
        assert found.site == "https://me.github.io/mqtt"
