from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from host_tests.conftest import require_mosquitto
from tools import broker
from tools.fleet import mosquitto_config


class MosquittoSetups:
    """Starts mosquitto with valid or invalid certificates, passwords and limits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority, other_authority = trustme.CA(), trustme.CA()
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        self.ca, self.other_ca = folder / "ca.pem", folder / "other_ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        other_authority.cert_pem.write_to_path(self.other_ca)
        ended = now - 400 * day
        issued = {
            "good": authority.issue_cert("localhost", not_after=now + 400 * day),
            "expires_soon": authority.issue_cert("localhost", not_after=now + 9 * day),
            "expired": authority.issue_cert("localhost", not_before=ended - 99 * day, not_after=ended),
            "not_yet_valid": authority.issue_cert(
                "localhost", not_before=now + 9 * day, not_after=now + 99 * day
            ),
            "other_host": authority.issue_cert("elsewhere.example"),
            "client": authority.issue_cert("doctor"),
        }
        for name, certificate in issued.items():
            certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
        (folder / "passwords").write_text(mosquitto_config.render_password_file({"me": "the right one"}, ""))

    @contextmanager
    def running(
        self, *lines: str, certificate: str | None = None, with_password: bool = False
    ) -> Iterator[int]:
        """Run mosquitto with these configuration lines, and yield its port."""
        config = list(lines)
        if certificate:
            path = self.folder / f"{certificate}.pem"
            config += [f"certfile {path}", f"keyfile {path}"]
        if with_password:
            config.append(f"password_file {self.folder / 'passwords'}")
        with broker.Mosquitto(*config, anonymous=not with_password) as running:
            yield running.address.port


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> MosquittoSetups:
    require_mosquitto()
    return MosquittoSetups(tmp_path_factory.mktemp("brokers"))
