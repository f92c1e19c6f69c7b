"""TLS over another transport; loaded by `Client(ssl=)`. See `over`."""


def over(transport, context):
    """A transport with TLS round the stream of another (5.4). `context` is an SSLContext."""
    raise NotImplementedError
