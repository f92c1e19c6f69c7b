"""Settings of the client for a connection, from the attributes of a `simple.MQTTClient`.

A program may change the attributes at any time; they take effect with the next `connect`.
"""

from binascii import hexlify

from ..core.wire import encode_text

# reason codes that replace the return codes 1 to 5 of CONNACK in MQTT 3.1.1
_REFUSALS = b"\x84\x85\x88\x86\x87"


def apply_settings(mqtt, client):
    """Copy the attributes of an MQTTClient to the client that it uses. Raises ValueError, AssertionError."""
    session = client.session
    if not isinstance(mqtt.server, (list, tuple)):  # a list is an argument of the constructor of `Client`
        client.host = to_str(mqtt.server)
        client.port = int(mqtt.port)
    session.keep_alive = mqtt.keepalive or 0
    if not 0 <= session.keep_alive < 65536:
        raise AssertionError("keepalive must be 0 to 65535 s")
    if mqtt.client_id:
        session.client_id = _encode_client_id(mqtt.client_id)
    session.user = session.password = session.will = None
    if mqtt.user:  # without a user, umqtt.simple sends no password either
        session.user = encode_text(mqtt.user)
        password = mqtt.pswd
        session.password = password.encode() if isinstance(password, str) else password
    if mqtt.lw_topic:
        client.will(mqtt.lw_topic, mqtt.lw_msg, mqtt.lw_qos, mqtt.lw_retain)


def make_transport(mqtt, transport):
    """Return the transport for the attributes `ssl` and `ssl_params`, over `transport` if it is not None."""
    if transport is None:
        from ..tcp import connect as transport
    if not (mqtt.ssl or mqtt.ssl_params):
        return transport
    from ..optional.ssl_params import make_context
    from ..tls import wrap

    context, hostname = make_context(mqtt.ssl, mqtt.ssl_params, mqtt.server)
    return wrap(transport, context, hostname)


def connack_code(reason):
    """Return the CONNACK return code of MQTT 3.1.1 for a reason code, or the reason code if it has none."""
    return _REFUSALS.find(bytes((reason,))) + 1 or reason


def to_str(text):
    """Return a topic or a host name as str; umqtt.simple allows bytes, too."""
    return text if isinstance(text, str) else str(encode_text(text), "utf-8")


def _encode_client_id(text):
    """Return a client identifier as bytes.

    The result is in hex digits if it is not valid text: some programs pass `machine.unique_id()`.
    """
    try:
        return encode_text(text)
    except ValueError:
        return hexlify(text)
