class Topic:
    name: bytes
    """The topic name in UTF-8."""
    alias: int
    generation: int
    publish_count: int
    """Number of messages published to this topic."""
    alias_header: bytearray

    def __init__(self, name: str | bytes | bytearray) -> None: ...

def encode_filter(text: str | bytes) -> bytes: ...
