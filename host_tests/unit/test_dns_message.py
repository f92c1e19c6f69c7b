"""DNS messages: names, queries, and hostile responses."""

from simulated_dns import ipv4, record, response, u16, wire

from helper import raises
from umqtt5.optional.dns_message import encode_name, is_ipv4, make_query, parse_response

NAME = wire("broker.example")
QUERY = make_query(NAME, b"\x12\x34", False)
HERE = b"\xc0\x0c"  # a pointer to the name in the question
ADDRESS = record(HERE, 1, ipv4("192.0.2.7"))
GOOD = response(QUERY, ADDRESS)


def parse(data, is_multicast=False):
    return parse_response(data, NAME, b"\x12\x34", is_multicast)


def addresses(data):
    """Return the addresses in a response, None if it is ignored."""
    found = parse(data)
    return found and list(found[1])


# ---- names and queries


def test_a_query_asks_for_the_ipv4_address_with_recursion():
    assert QUERY == b"\x12\x34\1\0\0\1\0\0\0\0\0\0\x06broker\x07example\0\0\1\0\1"


def test_a_multicast_query_asks_for_a_unicast_response():
    query = make_query(wire("broker.local"), b"\x12\x34", True)
    assert query == b"\x12\x34\0\0\0\1\0\0\0\0\0\0\x06broker\x05local\0\0\1\x80\1"


def test_names_are_encoded_in_lower_case_and_a_dot_at_the_end_is_ignored():
    for name in ("broker.example", "broker.example.", "BROKER.Example"):
        assert encode_name(name) == NAME
    assert encode_name("broker") == b"\x06broker\0"
    assert encode_name("_mqtt._tcp.a-1.example") == wire("_mqtt._tcp.a-1.example")
    assert len(encode_name("a" * 63 + ".b")) == 67
    assert len(encode_name(("a" * 49 + ".") * 5 + "b.c")) == 255


def test_invalid_names_raise_value_error_that_says_why():
    for name, word in (
        ("", "empty"),
        (".", "empty"),
        ("a..b", "empty"),
        (".a", "empty"),
        ("a..", "empty"),
        ("a" * 64 + ".example", "63"),
        (("a" * 49 + ".") * 5 + "bb.c", "253"),
        ("b\u00fccher.example", "xn--"),
        ("broker local", "ASCII"),
        ("broker\0.local", "ASCII"),
        ("mqtt://broker.local", "':'"),
        ("user@broker", "'@'"),
        ("broker:1883", "':'"),
        ("1.2.3.999", "IPv4"),
        ("1.2.3", "IPv4"),
        ("1234", "IPv4"),
    ):
        error = raises(ValueError, encode_name, name)
        assert str(error).startswith("host: ") and word in str(error), error


def test_ipv4_addresses_are_told_from_names():
    assert is_ipv4("192.0.2.7") and is_ipv4("0.0.0.0") and is_ipv4("255.255.255.255")
    for name in ("", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", "a.b.c.d", "1.2.3.0004", "1.2.3.-4"):
        assert not is_ipv4(name)


# ---- valid responses


def test_addresses_and_the_smallest_ttl_are_returned():
    data = response(QUERY, record(HERE, 1, ipv4("192.0.2.7"), 300), record(HERE, 1, ipv4("192.0.2.8"), 200))
    assert parse(data) == (0, ["192.0.2.7", "192.0.2.8"], 200, NAME)


def test_names_in_the_response_are_compared_without_case():
    upper = wire("BROKER.eXample")
    data = response(QUERY, record(upper, 1, ipv4("192.0.2.7")), question=upper + b"\0\1\0\1")
    assert addresses(data) == ["192.0.2.7"]


def test_a_chain_of_cname_records_is_followed_in_any_order():
    chain = [
        record(HERE, 5, wire("a.example"), 100),
        record(wire("a.example"), 5, wire("b.example"), 50),
        record(wire("b.example"), 1, ipv4("192.0.2.7"), 70),
    ]
    for records in (chain, chain[::-1]):
        assert parse(response(QUERY, *records)) == (0, ["192.0.2.7"], 50, wire("b.example"))


def test_the_end_of_a_chain_without_address_is_returned():
    data = response(QUERY, record(HERE, 5, wire("a.example")))
    assert parse(data)[1:] == ([], 60, wire("a.example"))


def test_records_of_other_names_types_and_classes_are_not_used():
    aaaa = record(HERE, 28, bytes(16))
    other = record(wire("evil.example"), 1, ipv4("192.0.2.66"))
    chaos = record(HERE, 1, ipv4("192.0.2.67"), klass=3)
    assert addresses(response(QUERY, aaaa, other, chaos)) == []
    assert addresses(response(QUERY, aaaa, other, chaos, ADDRESS)) == ["192.0.2.7"]


def test_addresses_that_no_host_can_have_are_not_used():
    for text in ("0.0.0.0", "0.1.2.3", "224.0.0.251", "239.1.1.1", "240.0.0.1", "255.255.255.255"):
        bad = record(HERE, 1, ipv4(text))
        assert parse(response(QUERY, bad))[:2] == (0, [])
        assert addresses(response(QUERY, bad, ADDRESS)) == ["192.0.2.7"]


def test_a_ttl_with_the_first_bit_set_counts_as_0():
    data = ADDRESS[:6] + b"\xff\xff\xff\xff" + ADDRESS[10:]
    assert parse(response(QUERY, data))[2] == 0
    data = ADDRESS[:6] + b"\x7f\xff\xff\xff" + ADDRESS[10:]
    assert parse(response(QUERY, data))[2] == 0x7FFFFFFF


def test_error_codes_are_returned():
    for code in (1, 2, 3, 4, 5, 15):
        assert parse(response(QUERY, ADDRESS, code=code))[:2] == (code, ())
    # some servers send an error without the question
    assert parse(QUERY[:2] + b"\x81\x82" + bytes(8))[0] == 2


def test_a_truncated_response_is_used_if_it_has_an_address():
    whole = response(QUERY, ADDRESS, ADDRESS, flags=0x8380)
    assert addresses(whole[:-3]) == ["192.0.2.7"]
    assert parse(response(QUERY, flags=0x8380))[0] == -1


def test_a_referral_to_other_servers_is_not_an_answer():
    assert parse(response(QUERY, flags=0x8100))[0] == -1
    assert parse(response(QUERY, flags=0x8180))[0] == 0  # recursive: there is no address
    assert parse(response(QUERY, flags=0x8500))[0] == 0  # authoritative


# ---- hostile responses


def test_responses_that_do_not_belong_to_the_query_are_ignored():
    assert addresses(GOOD) == ["192.0.2.7"]
    for bad in (
        b"\x12\x35" + GOOD[2:],  # another identifier
        b"\0\0" + GOOD[2:],
        GOOD[:2] + b"\1\x80" + GOOD[4:],  # a query
        GOOD[:2] + b"\xa9\x80" + GOOD[4:],  # another operation
        response(QUERY, ADDRESS, question=wire("evil.example") + b"\0\1\0\1"),
        response(QUERY, ADDRESS, question=NAME + b"\0\x1c\0\1"),  # AAAA
        response(QUERY, ADDRESS, question=NAME + b"\1\1\0\1"),
        response(QUERY, ADDRESS, question=NAME + b"\0\1\0\3"),  # another class
        response(QUERY, ADDRESS, question=NAME + b"\0\1\x80\1"),
        GOOD[:4] + b"\0\0" + GOOD[6:],  # no question
        GOOD[:4] + b"\0\2" + GOOD[6:],
        GOOD[:4] + b"\xff\xff" + GOOD[6:],
        response(QUERY, code=3, question=wire("evil.example") + b"\0\1\0\1"),
    ):
        assert parse(bad) is None, bad


def test_a_response_cut_at_any_byte_is_ignored():
    chain = [record(HERE, 5, wire("a.example")), record(wire("a.example"), 1, ipv4("192.0.2.7"))]
    for whole in (GOOD, response(QUERY, *chain)):
        assert addresses(whole) == ["192.0.2.7"]
        for n in range(len(whole)):
            assert parse(whole[:n]) is None, n


def test_a_response_with_any_byte_changed_gives_no_wrong_address():
    """Only a changed address itself gives another address."""
    start = len(GOOD) - 4
    for at in range(len(GOOD)):
        for value in (0, 1, 4, 5, 0x3F, 0x40, 0x80, 0xC0, 0xC1, 0xFF, GOOD[at] ^ 1, GOOD[at] ^ 0x20):
            found = parse(GOOD[:at] + bytes((value,)) + GOOD[at + 1 :])
            assert found is None or at >= start or found[1] in ((), [], ["192.0.2.7"]), (at, value, found)


def test_a_record_count_that_is_too_large_makes_a_response_invalid():
    assert parse(response(QUERY, ADDRESS, count=2)) is None
    assert parse(response(QUERY, ADDRESS, count=0xFFFF)) is None
    assert addresses(response(QUERY, ADDRESS, count=0)) == []


def test_lengths_that_do_not_fit_make_a_response_invalid():
    for bad in (
        record(HERE, 1, b"\xc0\0\2"),
        record(HERE, 1, b"\xc0\0\2\7\7"),
        record(HERE, 1, b""),
        record(HERE, 5, wire("a.example") + b"x"),  # more than a name
        record(HERE, 5, wire("a.example")[:-1]),
        record(HERE, 5, b""),
        HERE + u16(1) + u16(1) + bytes(4) + u16(0xFFFF) + ipv4("192.0.2.7"),
    ):
        assert parse(response(QUERY, bad)) is None, bad
        assert parse(response(QUERY, bad, ADDRESS)) is None, bad


def test_compression_loops_and_pointers_that_do_not_point_backwards_are_invalid():
    at = len(QUERY)  # offset of the first record
    for owner in (
        b"\xc0" + bytes((at,)),  # to itself
        b"\xc0" + bytes((at + 2,)),  # forward
        b"\1a\xc0" + bytes((at,)),  # a loop that grows
        b"\xff\xff",  # past the end
        b"\xc0\x00",  # into the header
        b"\xc0\x0b",
        b"\xc0",
        b"\x40a\0",  # reserved label types
        b"\x80a\0",
        b"\x40" + b"a" * 64 + b"\0",
        b"\x3f" + b"a" * 10,  # longer than the message
    ):
        assert parse(response(QUERY, record(owner, 1, ipv4("192.0.2.7")))) is None, owner
        assert parse(response(QUERY, record(owner, 1, ipv4("192.0.2.7")), ADDRESS)) is None, owner
    # two pointers at each other: the first one points forward
    data = response(QUERY, b"\xc0" + bytes((at + 2,)) + b"\xc0" + bytes((at,)) + bytes(20))
    assert parse(data) is None
    # the same in the question
    assert parse(GOOD[:12] + b"\xc0\x0c\0\1\0\1" + ADDRESS) is None


def test_a_name_that_is_too_long_is_invalid():
    owner = (b"\x3f" + b"a" * 63) * 4 + b"\0"
    assert parse(response(QUERY, record(owner, 1, ipv4("192.0.2.7")))) is None


def test_loops_of_cname_records_end():
    a, b = wire("a.example"), wire("b.example")
    for records in (
        [record(HERE, 5, NAME)],
        [record(HERE, 5, a), record(a, 5, NAME)],
        [record(HERE, 5, a), record(a, 5, b), record(b, 5, a)],
    ):
        assert parse(response(QUERY, *records)) is None
    long = [record(HERE, 5, wire("n0.example"))]
    for i in range(9):
        long.append(record(wire("n%d.example" % i), 5, wire("n%d.example" % (i + 1))))
    assert parse(response(QUERY, *long)) is None


# ---- multicast DNS


def test_a_multicast_response_may_be_without_question_and_identifier():
    """RFC 6762, sections 6 and 6.7. The first bit of the class has another meaning."""
    full = record(NAME, 1, ipv4("192.0.2.7"), klass=0x8001)
    bare = b"\0\0\x84\0\0\0\0\1\0\0\0\0" + full
    assert parse(bare, True)[1] == ["192.0.2.7"] and parse(bare) is None
    legacy = response(QUERY, ADDRESS, flags=0x8400)
    assert parse(legacy, True)[1] == ["192.0.2.7"]
    echoed = response(QUERY, full, question=NAME + b"\0\1\x80\1")
    assert parse(echoed, True)[1] == ["192.0.2.7"]
    assert parse(b"\x55\x55" + legacy[2:], True) is None
    assert parse(response(QUERY, code=3), True) is None
    assert parse(response(QUERY, record(wire("other.local"), 1, ipv4("192.0.2.7"))), True)[1] == []
