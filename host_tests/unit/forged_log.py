"""Files of a journal with chosen content: records with a valid checksum, and several kinds of garbage."""

MAGIC = b"umqtt5 outbox 1"


def u16(number):
    """Return two bytes, most significant first."""
    return bytes((number >> 8 & 0xFF, number & 0xFF))


def record(at, kind, number=0, body=b"", generation=1):
    """Return a record with a valid checksum for the offset `at`."""
    data = bytes((kind,)) + u16(number) + bytes((len(body) >> 16,)) + u16(len(body)) + body
    a = generation % 65521
    b = at % 65521
    for byte in data:
        a = (a + byte) % 65521
        b = (b + a) % 65521
    return data + u16(a) + u16(b)


def message(topic=b"up", payload=b"1", properties=b"", topic_size=None, properties_size=None):
    """Return the body of a PUBLISH record; the sizes may be wrong."""
    topic_size = len(topic) if topic_size is None else topic_size
    properties_size = len(properties) if properties_size is None else properties_size
    sizes = u16(topic_size) + bytes((properties_size >> 16,)) + u16(properties_size)
    return sizes + topic + properties + payload


def log_file(records, client_id=b"c", generation=1):
    """Return a complete file; `records` are (kind, number, body). A session begins before them."""
    content = record(0, 0, generation, MAGIC, generation)
    start = [(0xFF, 0, b"")]
    if client_id is not None:
        start.append((0x10, 0, client_id))
    for kind, number, body in start + list(records):
        content += record(len(content), kind, number, body, generation)
    return content


def garbage(rng, size):
    """Return a dict with `size` bytes of each kind of garbage, by name."""
    kinds = {
        "zeros": b"\x00" * size,
        "ones": b"\xff" * size,
        "starts of records": b"\x32" * size,
        "headers of empty records": b"\x40\x00\x00\x00\x00\x00" * (size // 6),
        "headers of large records": b"\x32\x00\x01\x00\x20\x00" * (size // 6),
        "a large size at every second offset": b"\x40\x00\x40\x00" * (size // 4),
        "a large size at almost every offset": b"\x01\x01\x01\x01" * (size // 4),
        "headers of huge records": b"\x32\x00\x01\xff\xff\xff" * (size // 6),
        "random": bytes([rng.below(256) for _ in range(1021)]) * (size // 1021 + 1),
        "wrong checksums": b"\x32\x00\x01\x00\x00\x30" + b"x" * 48 + b"bad!",
        "truncated records": record(0, 0x32, 1, b"y" * 100)[:60],
    }
    for name in kinds:
        kinds[name] = (kinds[name] * (size // len(kinds[name]) + 1))[:size]
    return kinds
