from __future__ import annotations

import pytest
from simulation import restore_real_clock

from host_tests.fuzz import corpus, fuzz, minimise, mutate
from host_tests.fuzz.fuzz_case import PROFILES, Case
from host_tests.interop import reference_decoder
from host_tests.interop.reference_packets import ALLOWED_PROPERTIES, PACKET_TYPES
from umqtt5.core.packet import Packet


@pytest.fixture(autouse=True)
def restore_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case has no pauses; other tests of this process have."""
    from umqtt5.core import connection

    monkeypatch.setattr(connection, "getrandbits", connection.getrandbits)


def test_mutated_streams_end_in_disconnect_or_go_on() -> None:
    result = fuzz.batch(0, 2000)
    assert not result.findings
    # deep enough: some streams are all right, the others end in each of these ways
    assert result.endings["goes on"] > 100
    for code in ("0x81", "0x82", "0x94", "0x95"):
        assert result.endings[code] > 10, result.endings


def test_the_corpus_has_every_packet_and_property_of_a_broker() -> None:
    found: dict[str, set[int]] = {}
    for exchange in corpus.load():
        for one in exchange:
            read, _ = reference_decoder.decode(one)
            found.setdefault(read.kind, set()).update(read.properties)
    for kind in PACKET_TYPES[2:]:
        if kind not in ("SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ"):
            # a server has no session expiry to say in DISCONNECT [MQTT-3.14.2-2]
            legal = ALLOWED_PROPERTIES.get(kind, frozenset()) - ({0x11} if kind == "DISCONNECT" else set())
            assert legal <= found[kind], kind


def test_a_stream_comes_from_its_number_alone() -> None:
    assert [mutate.generate_case(n) for n in range(50)] == [mutate.generate_case(n) for n in range(50)]
    assert {mutate.generate_case(n).profile for n in range(200)} == set(PROFILES)


def test_a_fault_is_found_made_small_and_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Packet._check_properties

    def broken(self: Packet, legal: int) -> int:
        reason: int = real(self, legal)
        if self.find_property(0x09) >= 0 and not reason:
            raise IndexError("planted")
        return reason

    monkeypatch.setattr(Packet, "_check_properties", broken)
    number, why = fuzz.batch(0, 300).findings[0]
    assert "IndexError" in why
    whole = mutate.generate_case(number)
    small = minimise.minimise(whole)
    assert sum(map(len, small.chunks)) < sum(map(len, whole.chunks)) / 2
    path = minimise.save(small, number, why)
    assert minimise.failure(minimise.load(path)) == why
    monkeypatch.undo()
    assert minimise.failure(minimise.load(path)) is None
    path.unlink()
    restore_real_clock()


def test_a_file_that_is_no_stream() -> None:
    with pytest.raises(ValueError, match="no saved stream"):
        minimise.load(corpus.FILE)


def test_what_a_case_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these would be a fault of the client; none may pass."""
    from umqtt5.core.session import Session

    connack = b"\x20\x03\x00\x00\x00"
    right = Case("plain", 1000, (connack, b"\xd0\x00"))
    assert minimise.failure(right) is None
    for name, wrong in (
        ("ack", lambda self, first, packet_id, reason: self.put(b"\x40\x03\x00\x00\x77")),
        ("parse", lambda self: None),
        ("close", lambda self, reason, packet=b"": self.lost()),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(Session, name, wrong)
            message = b"\x32\x06\x00\x01a\x00\x05\x00\xd1\x00"
            assert minimise.failure(Case("plain", 1000, (connack, message))), name
    restore_real_clock()
