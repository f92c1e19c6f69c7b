"""`make doctor` checks a real mosquitto: host name, port, certificate, login, limits of the broker."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from host_tests.board.rig import run_tool
from host_tests.doctor.conftest import MosquittoSetups
from tools import broker as brokers_of_tools
from tools.doctor import broker
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Check, Finding, run_checks

_CHECKS = [
    Check(function)
    for function in (broker.check_host_name, broker.check_port, broker.check_certificate, broker.check_mqtt)
]


def check_broker(
    url: str, ca: Path | None = None, client: Path | None = None, password: str = ""
) -> list[Finding]:
    """Return the findings of all broker checks for this URL."""
    certificates = {"ca": ca} if ca else {}
    if client:
        certificates.update(cert=client, key=client)
    with patch.dict(os.environ, {"MQTT_PASSWORD": password}):
        return list(run_checks(CheckContext(broker_url=url, certificates=certificates), _CHECKS))


def only_error(findings: list[Finding]) -> Finding:
    """Return the only error among the findings. It must have a remedy."""
    errors = [finding for finding in findings if finding.level == ERROR]
    assert len(errors) == 1, findings
    assert errors[0].remedy
    return errors[0]


def test_a_working_broker_is_reported_with_its_limits(brokers: MosquittoSetups) -> None:
    with brokers.running("max_topic_alias 7", certificate="good", with_password=True) as port:
        findings = check_broker(f"mqtts://me@localhost:{port}", brokers.ca, password="the right one")
    assert {finding.level for finding in findings} == {OK}
    text = "\n".join(finding.message for finding in findings)
    assert "127.0.0.1" in text and "accepts the connection as me" in text
    assert "QoS up to 2" in text and "7 topic aliases" in text
    assert "399 days" in text or "400 days" in text
    assert "right" not in text


def test_a_wrong_password_is_reported_but_not_printed(brokers: MosquittoSetups) -> None:
    with brokers.running(with_password=True) as port:
        findings = check_broker(f"mqtt://me@localhost:{port}", password="some-secret")
    error = only_error(findings)
    assert "refuses the connection as me: Not authorized" in error.message and "password" in error.remedy
    assert not any("some-secret" in repr(finding) for finding in findings)


@pytest.mark.parametrize(
    ("certificate", "ca", "text"),
    [
        ("expired", "ca", "its certificate expired on 20"),
        ("not_yet_valid", "ca", "its certificate is not valid before 20"),
        ("other_host", "ca", "is for elsewhere.example, not for localhost"),
        ("good", "other_ca", "trustme"),
        ("good", None, "not by a CA that this computer trusts"),
    ],
)
def test_an_invalid_certificate_is_reported_and_no_password_is_sent(
    brokers: MosquittoSetups, certificate: str, ca: str | None, text: str
) -> None:
    with brokers.running(certificate=certificate, with_password=True) as port:
        findings = check_broker(
            f"mqtts://me@localhost:{port}", getattr(brokers, ca) if ca else None, password="x"
        )
    assert text in only_error(findings).message
    # a broker without a valid certificate does not receive the password
    assert findings[-1].level == WARNING and "no password was sent" in findings[-1].message


def test_a_certificate_that_expires_soon_is_a_warning(brokers: MosquittoSetups) -> None:
    with brokers.running(certificate="expires_soon") as port:
        findings = check_broker(f"mqtts://localhost:{port}", brokers.ca)
    assert [finding.level for finding in findings if "TLS" in finding.subject] == [WARNING]
    assert not any(finding.level == ERROR for finding in findings)


def test_a_missing_client_certificate_is_reported(brokers: MosquittoSetups) -> None:
    lines = (f"cafile {brokers.ca}", "require_certificate true")
    with brokers.running(*lines, certificate="good") as port:
        url = f"mqtts://localhost:{port}"
        assert "--cert" in only_error(check_broker(url, brokers.ca)).remedy
        with_certificate = check_broker(url, brokers.ca, brokers.folder / "client.pem")
        assert {finding.level for finding in with_certificate} == {OK}


def test_tls_on_a_plain_port_and_plain_tcp_on_a_tls_port_are_reported(brokers: MosquittoSetups) -> None:
    with brokers.running() as port:
        assert (
            "mqtt:// for a connection without TLS"
            in only_error(check_broker(f"mqtts://localhost:{port}", brokers.ca)).remedy
        )
    with brokers.running(certificate="good") as port:
        assert "mqtts:// for TLS" in only_error(check_broker(f"mqtt://localhost:{port}")).remedy


def test_limits_that_the_device_application_cannot_use_are_a_warning(brokers: MosquittoSetups) -> None:
    with brokers.running("max_qos 0", "retain_available false") as port:
        warning = check_broker(f"mqtt://localhost:{port}")[-1]
    assert warning.level == WARNING
    assert warning.message.endswith("the device application needs QoS 1 and retained messages")


def test_a_closed_port_is_reported() -> None:
    error = only_error(check_broker(f"mqtt://localhost:{brokers_of_tools.free_port()}"))
    assert error.message == "connection refused" and "start the broker" in error.remedy


def test_a_missing_route_is_reported() -> None:
    error = only_error(check_broker("mqtt://255.255.255.255"))  # the broadcast address
    assert error.message == "no route to the broker" and "network" in error.remedy


def test_a_host_name_without_an_address_is_reported() -> None:
    error = only_error(check_broker("mqtt://no-such-host.invalid"))
    assert error.subject == "name" and "no-such-host.invalid: no address" in error.message


def test_the_command_prints_json_and_exits_with_1_after_an_error(brokers: MosquittoSetups) -> None:
    with brokers.running(with_password=True) as port:
        url = f"mqtt://me@localhost:{port}"
        wrong = run_tool("doctor", "--broker", url, "--json", code=1, MQTT_PASSWORD="wrong")
        assert any(
            finding["level"] == ERROR and "MQTT" in finding["subject"] for finding in json.loads(wrong)
        )
        good = run_tool("doctor", "--broker", url, MQTT_PASSWORD="the right one")
        assert "accepts the connection as me" in good and "error " not in good
    assert "mqtts://host:port" in run_tool("doctor", "--broker", "localhost", code=1)
