"""Test the fuzzer: its corpus, its mutations, what it finds, and 2000 mutated streams into the client."""

from __future__ import annotations

import pytest

from host_tests.fuzz import corpus, fuzz, minimise, mutate
from host_tests.fuzz.fuzz_case import PROFILES, Case
from host_tests.interop import reference_decoder
from host_tests.interop.reference_packets import ALLOWED_PROPERTIES, PACKET_TYPES
from umqtt5.core.packet import Packet


@pytest.fixture(autouse=True)
def restore_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the random reconnect back-off, which a fuzz case turns off for the whole process."""
    from umqtt5.core import connection

    monkeypatch.setattr(connection, "getrandbits", connection.getrandbits)


def test_mutated_streams_end_with_disconnect_or_leave_the_client_connected() -> None:
    result = fuzz.batch(0, 2000)
    assert not result.findings
    # the streams reach far into the client: some are valid, the others end in each of these ways
    assert result.endings["still connected"] > 100
    for code in ("0x81", "0x82", "0x94", "0x95"):
        assert result.endings[code] > 10, result.endings


def test_the_corpus_has_every_packet_type_and_property_that_a_broker_may_send() -> None:
    found: dict[str, set[int]] = {}
    for exchange in corpus.load():
        for data in exchange:
            packet, _ = reference_decoder.decode(data)
            found.setdefault(packet.kind, set()).update(packet.properties)
    for kind in PACKET_TYPES[2:]:
        if kind not in ("SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ"):
            # a server sends no session expiry in DISCONNECT [MQTT-3.14.2-2]
            allowed = ALLOWED_PROPERTIES.get(kind, frozenset()) - ({0x11} if kind == "DISCONNECT" else set())
            assert allowed <= found[kind], kind


def test_a_stream_depends_only_on_its_number() -> None:
    assert [mutate.generate_case(n) for n in range(50)] == [mutate.generate_case(n) for n in range(50)]
    assert {mutate.generate_case(n).profile for n in range(200)} == set(PROFILES)


def test_a_bug_is_found_minimised_saved_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Packet._check_properties

    def broken(self: Packet, allowed: int) -> int:
        reason: int = real(self, allowed)
        if self.find_property(0x09) >= 0 and not reason:
            raise IndexError("planted")
        return reason

    monkeypatch.setattr(Packet, "_check_properties", broken)
    number, why = fuzz.batch(0, 300).findings[0]
    assert "IndexError" in why
    original = mutate.generate_case(number)
    small = minimise.minimise(original)
    assert sum(map(len, small.chunks)) < sum(map(len, original.chunks)) / 2
    path = minimise.save(small, number, why)
    assert minimise.failure(minimise.load(path)) == why
    monkeypatch.undo()
    assert minimise.failure(minimise.load(path)) is None
    path.unlink()


def test_loading_a_file_that_is_not_a_saved_stream_raises_value_error() -> None:
    with pytest.raises(ValueError, match="is not a saved stream"):
        minimise.load(corpus.FILE)


def test_a_case_fails_if_the_client_breaks_an_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant one bug at a time: a wrong acknowledgement, no parsing, closing without DISCONNECT."""
    from umqtt5.core.session import Session

    connack = b"\x20\x03\x00\x00\x00"
    valid = Case("plain", 1000, (connack, b"\xd0\x00"))
    assert minimise.failure(valid) is None
    for name, broken in (
        ("ack", lambda self, first, packet_id, reason: self.put(b"\x40\x03\x00\x00\x77")),
        ("parse", lambda self: None),
        ("close", lambda self, reason, packet=b"": self.lost()),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Session, name, broken)
            message = b"\x32\x06\x00\x01a\x00\x05\x00\xd1\x00"
            assert minimise.failure(Case("plain", 1000, (connack, message))), name
