"""What `make doctor` says of brokers: real ones, set up well and badly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tests.board.rig import run_tool
from host_tests.doctor.conftest import MosquittoSetups
from tools import broker as brokers_of_tools
from tools.doctor import broker
from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Check, Finding, run_checks

_CHECKS = [
    Check(look)
    for look in (broker.check_host_name, broker.check_port, broker.check_certificate, broker.check_mqtt)
]


def examined(url: str, ca: Path | None = None, client: Path | None = None) -> list[Finding]:
    certificates = {"ca": ca} if ca else {}
    if client:
        certificates.update(cert=client, key=client)
    return list(run_checks(CheckContext(broker_url=url, certificates=certificates), _CHECKS))


def the_problem(found: list[Finding]) -> Finding:
    problems = [one for one in found if one.level == ERROR]
    assert len(problems) == 1, found
    assert problems[0].remedy
    return problems[0]


def test_a_good_broker_is_told_with_its_limits(brokers: MosquittoSetups) -> None:
    with brokers.running("max_topic_alias 7", certificate="good", with_password=True) as port:
        found = examined(f"mqtts://me:the%20right%20one@localhost:{port}", brokers.ca)
    assert {one.level for one in found} == {OK}
    text = "\n".join(one.message for one in found)
    assert "127.0.0.1" in text and "accepts the connection as me" in text
    assert "QoS up to 2" in text and "7 topic aliases" in text
    assert "399 days" in text or "400 days" in text
    assert "right" not in text


def test_a_wrong_password_is_told_and_not_printed(brokers: MosquittoSetups) -> None:
    with brokers.running(with_password=True) as port:
        found = examined(f"mqtt://me:some-secret@localhost:{port}")
    problem = the_problem(found)
    assert "refuses the connection as me: Not authorized" in problem.message and "password" in problem.remedy
    assert not any("some-secret" in repr(one) for one in found)


@pytest.mark.parametrize(
    ("certificate", "ca", "text"),
    [
        ("expired", "ca", "its certificate expired on 20"),
        ("of_future", "ca", "its certificate is not valid before 20"),
        ("elsewhere", "ca", "is for elsewhere.example, not for localhost"),
        ("good", "stranger", "trustme"),
        ("good", None, "not by a CA that this computer trusts"),
    ],
)
def test_a_certificate_that_does_not_hold(
    brokers: MosquittoSetups, certificate: str, ca: str | None, text: str
) -> None:
    with brokers.running(certificate=certificate, with_password=True) as port:
        found = examined(f"mqtts://me:x@localhost:{port}", getattr(brokers, ca) if ca else None)
    assert text in the_problem(found).message
    # a password goes to nobody who can't show who he is
    assert found[-1].level == WARNING and "no password was sent" in found[-1].message


def test_a_certificate_that_ends_soon_is_a_warning(brokers: MosquittoSetups) -> None:
    with brokers.running(certificate="ends_soon") as port:
        found = examined(f"mqtts://localhost:{port}", brokers.ca)
    assert [one.level for one in found if "TLS" in one.subject] == [WARNING]
    assert not any(one.level == ERROR for one in found)


def test_a_broker_that_wants_a_certificate_of_ours(brokers: MosquittoSetups) -> None:
    lines = (f"cafile {brokers.ca}", "require_certificate true")
    with brokers.running(*lines, certificate="good") as port:
        url = f"mqtts://localhost:{port}"
        assert "--cert" in the_problem(examined(url, brokers.ca)).remedy
        with_ours = examined(url, brokers.ca, brokers.folder / "client.pem")
        assert {one.level for one in with_ours} == {OK}


def test_tls_where_there_is_none_and_none_where_there_is(brokers: MosquittoSetups) -> None:
    with brokers.running() as port:
        assert (
            "mqtt:// for a connection without TLS"
            in the_problem(examined(f"mqtts://localhost:{port}", brokers.ca)).remedy
        )
    with brokers.running(certificate="good") as port:
        assert "mqtts:// for TLS" in the_problem(examined(f"mqtt://localhost:{port}")).remedy


def test_limits_that_our_device_can_not_live_with(brokers: MosquittoSetups) -> None:
    with brokers.running("max_qos 0", "retain_available false") as port:
        warning = examined(f"mqtt://localhost:{port}")[-1]
    assert warning.level == WARNING
    assert warning.message.endswith("the device application needs QoS 1 and retained messages")


def test_a_closed_port() -> None:
    problem = the_problem(examined(f"mqtt://localhost:{brokers_of_tools.free_port()}"))
    assert problem.message == "connection refused" and "start the broker" in problem.remedy


def test_no_route() -> None:
    problem = the_problem(examined("mqtt://255.255.255.255"))  # no computer has it
    assert problem.message == "no route to the broker" and "network" in problem.remedy


def test_a_name_that_leads_nowhere() -> None:
    problem = the_problem(examined("mqtt://no-such-host.invalid"))
    assert problem.subject == "name" and "no-such-host.invalid: no address" in problem.message


def test_the_command_tells_machines_and_its_exit_code(brokers: MosquittoSetups) -> None:
    with brokers.running(with_password=True) as port:
        wrong = run_tool("doctor", "--broker", f"mqtt://me:wrong@localhost:{port}", "--json", code=1)
        assert any(one["level"] == ERROR and "MQTT" in one["subject"] for one in json.loads(wrong))
        good = run_tool("doctor", "--broker", f"mqtt://me:the%20right%20one@localhost:{port}")
        assert "accepts the connection as me" in good and "error " not in good
    assert "mqtts://host:port" in run_tool("doctor", "--broker", "localhost", code=1)
