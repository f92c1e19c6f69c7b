"""Server Reference (4.11): redirects to another server, which the application has to allow."""

from simulation import Simulation

from helper import CONNACK, make_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError
from umqtt5.optional.server_reference import parse_reference


class Net(Simulation):
    """Brokers by (host, port), each with its connect reply; other addresses refuse the connection."""

    def __init__(self, **brokers):
        Simulation.__init__(self)
        self.brokers = {("broker", 1883): CONNACK}
        self.visited = []

    def connect(self, host, port):
        self.visited.append((host, port))
        self.broker_listens = (host, port) in self.brokers
        self.connect_reply = self.brokers.get((host, port))
        return Simulation.connect(self, host, port)


HOME = ("broker", 1883)
OTHER = ("other", 1884)


def sent_to(reason, reference, first=0x20):
    """Return a CONNACK or DISCONNECT with this reason code and a Server Reference."""
    block = b"\x1c" + utf8_string(reference) if reference is not None else b""
    return make_packet(first, b"\x00" if first == 0x20 else b"", bytes((reason, len(block))), block)


def net(greeting, other=CONNACK, follow=True):
    sim = Net()
    sim.brokers[HOME] = greeting
    sim.brokers[OTHER] = other
    sim.client.follow_redirects = follow
    return sim


def test_server_references_are_parsed():
    """The examples are those of section 4.11."""
    assert parse_reference("myserver.xyz.org", 1883) == ("myserver.xyz.org", 1883)
    assert parse_reference("myserver.xyz.org:8883", 1883) == ("myserver.xyz.org", 8883)
    assert parse_reference("10.10.151.22:8883 [fe80::9610:3eff:fe1c]:1883", 1) == ("10.10.151.22", 8883)
    assert parse_reference("[fe80::9610:3eff:fe1c]:1884", 1883) == ("fe80::9610:3eff:fe1c", 1884)
    assert parse_reference("[fe80::9610:3eff:fe1c]", 1883) == ("fe80::9610:3eff:fe1c", 1883)
    for wrong in (
        "",
        " ",
        ":1883",
        "a:",
        "a:b",
        "a:0",
        "a:65536",
        "a:99999999999",
        "[a",
        "[]:1",
        "[a]b",
        "a:-1",
    ):
        assert parse_reference(wrong, 1883) is None, wrong


def test_redirects_are_off_by_default():
    for follow in (None, False):
        sim = net(sent_to(0x9D, b"other:1884"), follow=follow)
        error = raises(MQTTError, sim.client.connect)
        assert error.code == 0x9D and error.server_reference == "other:1884"
        assert sim.visited == [HOME]


def test_use_another_server_redirects_one_connection():
    sim = net(sent_to(0x9C, b"other:1884"))
    assert sim.client.connect() is False and sim.client.is_connected
    assert sim.visited == [HOME, OTHER]
    sim.brokers[HOME] = CONNACK
    sim.stream.closed_by_broker = True
    sim.client.poll(2000)
    assert sim.visited == [HOME, OTHER, HOME] and sim.client.is_connected


def test_server_moved_redirects_all_later_connections():
    sim = net(sent_to(0x9D, b"other:1884"))
    sim.client.connect()
    for _ in range(3):
        sim.stream.closed_by_broker = True
        sim.client.poll(9000)
    assert sim.visited == [HOME] + [OTHER] * 4 and sim.client.is_connected


def test_a_disconnect_can_redirect_the_client():
    for reason, then in ((0x9C, HOME), (0x9D, OTHER)):
        sim = net(CONNACK)
        told = []
        sim.client.on_state = lambda client, up, error: told.append((up, error and error.code))  # noqa: B023
        sim.client.connect()
        sim.stream.inbox = sent_to(reason, b"other:1884", 0xE0)
        sim.client.poll(10)  # without back-off
        assert sim.visited == [HOME, OTHER] and sim.client.is_connected
        assert told == [(True, None), (False, reason), (True, None)]
        sim.stream.closed_by_broker = True
        sim.client.on_state = None
        sim.client.poll(2000)
        assert sim.visited[2] == then


def test_a_function_can_choose_the_server():
    asked = []

    def choose(reference):
        asked.append(reference)
        return OTHER if "good" in reference else None

    sim = net(sent_to(0x9C, b"good ones"), follow=choose)
    sim.client.connect()
    assert sim.visited == [HOME, OTHER] and asked == ["good ones"]
    sim = net(sent_to(0x9C, b"bad ones"), follow=choose)
    assert raises(MQTTError, sim.client.connect).server_reference == "bad ones"
    assert sim.visited == [HOME]

    def broken(reference):
        raise KeyError(reference)

    sim = net(sent_to(0x9C, b"x"), follow=broken)
    errors = []
    sim.client.on_error = errors.append
    raises(MQTTError, sim.client.connect)
    assert sim.visited == [HOME] and len(errors) == 1


def test_a_missing_or_invalid_reference_is_not_followed():
    for reference in (None, b"", b"other:port"):
        sim = net(sent_to(0x9C, reference))
        assert raises(MQTTError, sim.client.connect).code == 0x9C
        assert sim.visited == [HOME]


def test_a_reference_with_another_reason_code_is_ignored():
    sim = net(sent_to(0x88, b"other:1884"))
    assert raises(MQTTError, sim.client.connect).code == 0x88
    assert sim.visited == [HOME]


def test_a_redirect_loop_ends_with_an_error():
    for reason in (0x9C, 0x9D):
        sim = net(sent_to(reason, b"other:1884"), sent_to(reason, b"broker:1883"))
        assert raises(MQTTError, sim.client.connect).code == reason
        assert len(sim.visited) == 5
        assert sim.now < 100


def test_redirects_after_connack_are_limited_by_the_back_off():
    sim = net(CONNACK + sent_to(0x9C, b"other:1884", 0xE0), CONNACK + sent_to(0x9C, b"broker:1883", 0xE0))
    sim.client.connect(wait=False)
    sim.client.poll(60_000)
    assert 5 < len(sim.visited) < 100


THIRD = ("third", 1)


def test_after_a_chain_of_redirects_the_next_connection_starts_at_the_first_server():
    sim = net(sent_to(0x9C, b"other:1884"), sent_to(0x9C, b"third:1"))
    sim.brokers[THIRD] = CONNACK
    sim.client.connect()
    sim.brokers[HOME] = CONNACK
    sim.stream.closed_by_broker = True
    sim.client.poll(20_000)
    assert sim.visited == [HOME, OTHER, THIRD, HOME]


def test_a_server_moved_after_use_another_server_is_permanent():
    sim = net(sent_to(0x9C, b"other:1884"), sent_to(0x9D, b"third:1"))
    sim.brokers[THIRD] = CONNACK
    sim.client.connect()
    sim.stream.closed_by_broker = True
    sim.client.poll(20_000)
    assert sim.visited == [HOME, OTHER, THIRD, THIRD]


def test_disconnect_in_on_state_cancels_the_redirect():
    sim = net(CONNACK)
    sim.client.connect()
    sim.client.on_state = lambda client, up, error: client.disconnect()
    sim.stream.inbox = sent_to(0x9D, b"other:1884", 0xE0)
    sim.client.poll(5000)
    assert sim.visited == [HOME] and (sim.client.host, sim.client.port) == HOME


def test_if_the_other_server_is_unreachable_the_client_returns():
    sim = net(sent_to(0x9C, b"nowhere:1"))
    assert raises(OSError, sim.client.connect).args[0] == 111
    assert sim.visited == [HOME, ("nowhere", 1)]
    sim.brokers[HOME] = CONNACK
    sim.client.connect()
    assert sim.visited[2:] == [HOME]


def test_after_disconnect_the_client_does_not_follow_redirects():
    sim = net(CONNACK)
    sim.client.connect()
    sim.client.disconnect()
    sim.client.poll(5000)
    assert sim.visited == [HOME]
