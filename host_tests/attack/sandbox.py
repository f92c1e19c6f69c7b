"""The folders in which an attacked command runs, and the files outside of its working folder.

The home folder and the neighbours of the working folder contain files that a command must not touch.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tools.paths import ROOT

BROKER_SECRET = "S3cret-Passw0rd"
# folders that commands may write, in addition to the working folder
_STATE = (Path("home/.local/state/umqtt5"), Path("home/.cache/umqtt5"))
_FILES = {
    "home/.bashrc": "alias ll='ls -l'\n",
    "home/.profile": "umask 022\n",
    "home/.gitconfig": "[user]\n\tname = Somebody\n",
    "home/.ssh/authorized_keys": "ssh-ed25519 AAAA somebody\n",
    "home/.ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    "home/documents/config.json": '{"device": "mine"}\n',
    "outside/config.json": '{"device": "mine"}\n',
    "outside/fleet.toml": "mine = true\n",
    "outside/folder/ca.key": "mine\n",
    "neighbour/config.json": "{}\n",
    "neighbour/update.key": "0" * 64 + "\n",
}


@dataclass(frozen=True)
class Sandbox:
    """A folder with `home`, `work` (the working folder of the command), and files that must not change."""

    root: Path

    @property
    def home(self) -> Path:
        """The home folder."""
        return self.root / "home"

    @property
    def work(self) -> Path:
        """The working folder of the command."""
        return self.root / "work"

    @property
    def outside(self) -> Path:
        """A folder outside of the working folder. `work/link` is a symlink to it."""
        return self.root / "outside"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command."""
        names = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "PYTEST_", "MAKE", "MQTT", "UMQTT5", "DBUS_", "COLUMNS", "LINES"))
        }
        return {
            **names,
            "HOME": str(self.home),
            "TMPDIR": str(self.root / "tmp"),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "USER": "somebody",
            "MQTT_PASSWORD": BROKER_SECRET,
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }

    def snapshot(self) -> dict[str, str]:
        """Return a description of each file and folder outside of the working folder, by path.

        It contains the kind, the mode, the target of a symlink, and the SHA-256 of the content.
        """
        found = {}
        for folder, names, files in os.walk(self.root):
            here = Path(folder).relative_to(self.root)
            for name in [*names, *files]:
                path = here / name
                if path.parts[0] != "work" and path not in _STATE:
                    found[str(path)] = _describe(self.root / path)
            names[:] = [one for one in names if here / one != Path("work") and here / one not in _STATE]
        return found


def make_sandbox(root: Path) -> Sandbox:
    """Create the folders and files of a sandbox in `root`, an empty folder."""
    sandbox = Sandbox(root)
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.chmod(root / "home/.ssh", 0o700)
    # the parents of the state folders exist, so that a command that creates them changes nothing else
    for folder in ("work", "tmp", *(str(path.parent) for path in _STATE)):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (sandbox.work / "link").symlink_to(sandbox.outside)
    return sandbox


def _describe(path: Path) -> str:
    status = path.lstat()
    text = f"{stat.filemode(status.st_mode)}"
    if stat.S_ISLNK(status.st_mode):
        return f"{text} {os.readlink(path)}"
    if stat.S_ISREG(status.st_mode):
        return f"{text} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return text
