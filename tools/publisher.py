"""The command `publisher`: sets the public address of the project, and writes it into all files.

`[project.urls]` in pyproject.toml has the address: `Repository`, and `Documentation`, the site of the
documents. Every other place, such as the install lines in README.md, repeats it in one of the forms of
`Publisher.forms`.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.console import Console
from tools.errors import UserError
from tools.paths import ROOT
from tools.text_files import read_toml, write_text

DEFAULT_REPOSITORY = "https://github.com/umqtt5/umqtt5"  # as long as nobody has published the project
# host of a repository: its name in addresses for mip, and the usual address of its site
_HOSTS = {
    "github.com": ("github", "https://{owner}.github.io/{name}"),
    "gitlab.com": ("gitlab", "https://{owner}.gitlab.io/{name}"),
    "codeberg.org": ("codeberg", "https://{owner}.codeberg.page/{name}"),
}
_REPOSITORY = re.compile(r"https://([a-z.]+)/([\w-]+)/([\w-][\w.-]*)", re.ASCII)
_SITE = re.compile(r"https://[\w.-]+(/[\w.~-]+)*", re.ASCII)
_HELD = {".md", ".py", ".toml", ".json", ".yml", ".yaml", ".html", ".txt", ".cfg"}  # files that are searched
_NOT_HELD = ("tools/requirements/", "host_tests/")
_THIS_FILE = "tools/publisher.py"


@dataclass(frozen=True)
class Publisher:
    """The public address of the project."""

    repository: str  # such as https://github.com/umqtt5/umqtt5
    site: str  # such as https://umqtt5.github.io/umqtt5

    @property
    def mip(self) -> str:
        """The repository as mip names it, such as `github:umqtt5/umqtt5`."""
        host, owner, name = _split(self.repository)
        return f"{_HOSTS[host][0]}:{owner}/{name}"

    @property
    def mip_index(self) -> str:
        """The address of the index for `mpremote mip install --index`."""
        return self.site + "/mip"

    def forms(self) -> list[str]:
        """Return the forms in which files repeat the address."""
        return [self.repository, self.mip, self.site]


def _split(repository: str) -> tuple[str, str, str]:
    """Return host, owner and name of a repository. Raises UserError."""
    found = _REPOSITORY.fullmatch(repository.removesuffix("/").removesuffix(".git"))
    if not found or found[1] not in _HOSTS:
        raise UserError(
            f"REPOSITORY={repository}: expected https://HOST/OWNER/NAME. mip installs from the hosts "
            f"{', '.join(_HOSTS)}"
        )
    return found[1], found[2], found[3]


def make_publisher(repository: str, site: str | None = None) -> Publisher:
    """Return the publisher of a repository. Raises UserError.

    `site` is by default the usual one of the host.
    """
    host, owner, name = _split(repository)
    site = (site or _HOSTS[host][1].format(owner=owner.lower(), name=name)).removesuffix("/")
    if not _SITE.fullmatch(site):
        raise UserError(f"SITE={site}: expected an address such as https://docs.example.com/umqtt5")
    return Publisher(f"https://{host}/{owner}/{name}", site)


def read_publisher(root: Path = ROOT) -> Publisher:
    """Return the publisher in pyproject.toml. Raises UserError."""
    try:
        urls = read_toml(root / "pyproject.toml")["project"]["urls"]
        return make_publisher(urls["Repository"], urls["Documentation"])
    except KeyError as missing:
        raise UserError(f"pyproject.toml: [project.urls] has no {missing}. Restore it with git") from None


def replace_address(root: Path, new: Publisher) -> list[Path]:
    """Write the address of `new` into all files that git knows. Return those that changed.

    Raises UserError.
    """
    old = read_publisher(root)
    # each form ends where a name of a repository or of a site would end
    forms = {before: after for before, after in zip(old.forms(), new.forms())}
    pattern = re.compile("(" + "|".join(map(re.escape, sorted(forms, key=len, reverse=True))) + r")(?![\w-])")
    changed = []
    for path in _list_files(root):
        data = path.read_bytes().decode("utf-8")
        text = pattern.sub(lambda match: forms[match[1]], data)
        if text != data:
            write_text(path, text)
            changed.append(path)
    return changed


def _list_files(root: Path) -> list[Path]:
    """Return the text files that git knows, without links. Raises UserError."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            encoding="utf-8",
        )
    except FileNotFoundError:
        raise UserError("git is not installed. Install it, then try again") from None
    if done.returncode:
        raise UserError(f"{root} is not a clone made by git, so its files are unknown. Clone the repository")
    names = [name for name in done.stdout.split("\0") if name and not name.startswith(_NOT_HELD)]
    paths = [root / name for name in names if name != _THIS_FILE and Path(name).suffix in _HELD]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def main(
    repository: Annotated[
        Optional[str], typer.Option(help="the new address of the repository, https://HOST/OWNER/NAME")
    ] = None,
    site: Annotated[
        Optional[str], typer.Option(help="the new address of the documents; default: the pages of the host")
    ] = None,
) -> None:
    """Show the public address of the project, or write a new one into all files."""
    console = Console(soft_wrap=True)
    old = read_publisher()
    if repository is None and site is None:
        console.print(f"repository: {old.repository}\nfor mip:    {old.mip}\nsite:       {old.site}")
        return
    new = make_publisher(repository or old.repository, site)
    changed = replace_address(ROOT, new)
    for path in changed:
        console.print(f"written: {path.relative_to(ROOT)}")
    console.print(
        f"{new.repository}, {new.site}: {len(changed)} files changed. Next: git diff, then commit them"
    )
