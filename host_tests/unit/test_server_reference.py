"""Server Reference: where the broker sends us, when we let it (4.11)."""

from simulation import World

from helper import CONNACK, packet, raises, text
from umqtt5.core.errors import MQTTError
from umqtt5.optional.server_reference import address


class Net(World):
    """Brokers by (host, port), each with what it greets by; others refuse the connection."""

    def __init__(self, **brokers):
        World.__init__(self)
        self.brokers = {("broker", 1883): CONNACK}
        self.visited = []

    def connect(self, host, port):
        self.visited.append((host, port))
        self.there = (host, port) in self.brokers
        self.greeting = self.brokers.get((host, port))
        return World.connect(self, host, port)


HOME = ("broker", 1883)
OTHER = ("other", 1884)


def sent_to(reason, reference, first=0x20):
    """CONNACK or DISCONNECT with this reason, and a reference."""
    block = b"\x1c" + text(reference) if reference is not None else b""
    return packet(first, b"\x00" if first == 0x20 else b"", bytes((reason, len(block))), block)


def net(greeting, other=CONNACK, follow=True):
    there = Net()
    there.brokers[HOME] = greeting
    there.brokers[OTHER] = other
    there.client.follow = follow
    return there


def test_references():
    """The examples of section 4.11."""
    assert address("myserver.xyz.org", 1883) == ("myserver.xyz.org", 1883)
    assert address("myserver.xyz.org:8883", 1883) == ("myserver.xyz.org", 8883)
    assert address("10.10.151.22:8883 [fe80::9610:3eff:fe1c]:1883", 1) == ("10.10.151.22", 8883)
    assert address("[fe80::9610:3eff:fe1c]:1884", 1883) == ("fe80::9610:3eff:fe1c", 1884)
    assert address("[fe80::9610:3eff:fe1c]", 1883) == ("fe80::9610:3eff:fe1c", 1883)
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
        assert address(wrong, 1883) is None, wrong


def test_it_is_not_followed_unless_the_user_says_so():
    for follow in (None, False):
        there = net(sent_to(0x9D, b"other:1884"), follow=follow)
        error = raises(MQTTError, there.client.connect)
        assert error.code == 0x9D and error.reference == "other:1884"
        assert there.visited == [HOME]


def test_use_another_server_is_for_once():
    there = net(sent_to(0x9C, b"other:1884"))
    assert there.client.connect() is False and there.client.connected
    assert there.visited == [HOME, OTHER]
    there.brokers[HOME] = CONNACK
    there.stream.gone = True
    there.client.poll(2000)
    assert there.visited == [HOME, OTHER, HOME] and there.client.connected


def test_server_moved_is_for_good():
    there = net(sent_to(0x9D, b"other:1884"))
    there.client.connect()
    for _ in range(3):
        there.stream.gone = True
        there.client.poll(9000)
    assert there.visited == [HOME] + [OTHER] * 4 and there.client.connected


def test_a_disconnect_sends_us_away_too():
    for reason, then in ((0x9C, HOME), (0x9D, OTHER)):
        there = net(CONNACK)
        told = []
        there.client.on_state = lambda client, up, error: told.append((up, error and error.code))  # noqa: B023
        there.client.connect()
        there.stream.inbox = sent_to(reason, b"other:1884", 0xE0)
        there.client.poll(10)  # no pause of the back-off
        assert there.visited == [HOME, OTHER] and there.client.connected
        assert told == [(True, None), (False, reason), (True, None)]
        there.stream.gone = True
        there.client.on_state = None
        there.client.poll(2000)
        assert there.visited[2] == then


def test_a_function_of_the_users_chooses():
    asked = []

    def choose(reference):
        asked.append(reference)
        return OTHER if "good" in reference else None

    there = net(sent_to(0x9C, b"good ones"), follow=choose)
    there.client.connect()
    assert there.visited == [HOME, OTHER] and asked == ["good ones"]
    there = net(sent_to(0x9C, b"bad ones"), follow=choose)
    assert raises(MQTTError, there.client.connect).reference == "bad ones"
    assert there.visited == [HOME]

    def broken(reference):
        raise KeyError(reference)

    there = net(sent_to(0x9C, b"x"), follow=broken)
    errors = []
    there.client.on_error = errors.append
    raises(MQTTError, there.client.connect)
    assert there.visited == [HOME] and len(errors) == 1


def test_without_a_reference_or_with_a_bad_one_we_stay():
    for reference in (None, b"", b"other:port"):
        there = net(sent_to(0x9C, reference))
        assert raises(MQTTError, there.client.connect).code == 0x9C
        assert there.visited == [HOME]


def test_a_reference_beside_another_reason_means_nothing():
    there = net(sent_to(0x88, b"other:1884"))
    assert raises(MQTTError, there.client.connect).code == 0x88
    assert there.visited == [HOME]


def test_servers_that_send_us_to_each_other_end_it():
    for reason in (0x9C, 0x9D):
        there = net(sent_to(reason, b"other:1884"), sent_to(reason, b"broker:1883"))
        assert raises(MQTTError, there.client.connect).code == reason
        assert len(there.visited) == 5
        assert there.now < 100


def test_servers_that_accept_and_send_us_on_are_not_hammered():
    there = net(CONNACK + sent_to(0x9C, b"other:1884", 0xE0), CONNACK + sent_to(0x9C, b"broker:1883", 0xE0))
    there.client.connect(wait=False)
    there.client.poll(60_000)
    assert 5 < len(there.visited) < 100


THIRD = ("third", 1)


def test_from_server_to_server_and_back():
    there = net(sent_to(0x9C, b"other:1884"), sent_to(0x9C, b"third:1"))
    there.brokers[THIRD] = CONNACK
    there.client.connect()
    there.brokers[HOME] = CONNACK
    there.stream.gone = True
    there.client.poll(20_000)
    assert there.visited == [HOME, OTHER, THIRD, HOME]


def test_a_server_for_once_may_have_moved_for_good():
    there = net(sent_to(0x9C, b"other:1884"), sent_to(0x9D, b"third:1"))
    there.brokers[THIRD] = CONNACK
    there.client.connect()
    there.stream.gone = True
    there.client.poll(20_000)
    assert there.visited == [HOME, OTHER, THIRD, THIRD]


def test_who_gives_up_when_he_hears_of_it_stays():
    there = net(CONNACK)
    there.client.connect()
    there.client.on_state = lambda client, up, error: client.disconnect()
    there.stream.inbox = sent_to(0x9D, b"other:1884", 0xE0)
    there.client.poll(5000)
    assert there.visited == [HOME] and (there.client.host, there.client.port) == HOME


def test_where_the_other_server_is_not_there_we_come_back():
    there = net(sent_to(0x9C, b"nowhere:1"))
    assert raises(OSError, there.client.connect).args[0] == 111
    assert there.visited == [HOME, ("nowhere", 1)]
    there.brokers[HOME] = CONNACK
    there.client.connect()
    assert there.visited[2:] == [HOME]


def test_who_has_ended_it_himself_is_not_sent_anywhere():
    there = net(CONNACK)
    there.client.connect()
    there.client.disconnect()
    there.client.poll(5000)
    assert there.visited == [HOME]
