"""`ssl_params` of umqtt5.simple: each key is used or refused."""

import sys

from helper import raises
from umqtt5 import tls
from umqtt5.optional import ssl_params


class Context:
    """What `tls.context` returns in these tests: its arguments."""

    verify_mode = 2

    def __init__(self, *arguments, **named):
        self.arguments = arguments
        self.verify = named.get("verify")

    def wrap_socket(self, *_):
        pass


def make(ssl, params=None):
    """Call `make_context` with a stand-in for `tls.context`."""
    real = tls.context
    tls.context = Context
    try:
        return ssl_params.make_context(ssl, params, "broker.local")
    finally:
        tls.context = real


def refused(params, ssl=True):
    """Return the words of the ValueError."""
    return str(raises(ValueError, make, ssl, params))


def warnings(function, *arguments):
    """Return what the module prints during a call."""
    lines = []
    ssl_params.print = lines.append
    ssl_params._was_warned = False
    try:
        function(*arguments)
    finally:
        del ssl_params.print
    return lines


def test_without_ssl_there_is_no_context_and_no_parameter_is_ignored():
    assert make(None) == make(False) == make(None, {}) == (None, None)
    for off in (None, False):
        assert "ssl=True" in refused({"cert_reqs": 2}, off)


def test_without_a_ca_certificate_the_broker_is_not_authenticated_and_a_warning_says_so():
    lines = warnings(make, True)
    assert len(lines) == 1 and "broker.local is not authenticated" in lines[0]
    assert len(warnings(make, True, {"cert_reqs": 0, "server_hostname": "a"})) == 1
    made, name = make(True)  # the second time without a warning
    assert made.arguments == (None, None, None) and made.verify is False and name is None
    assert not warnings(make, True, {"cadata": b"ca"})


def test_a_required_certificate_is_never_left_unchecked():
    for mode in (1, 2):  # CERT_OPTIONAL, CERT_REQUIRED
        assert "cert_reqs" in refused({"cert_reqs": mode})
        assert "cert_reqs" in refused({"cert_reqs": mode, "cadata": None})
        for name in ("cadata", "ca_certs", "cafile"):
            made, _ = make(True, {"cert_reqs": mode, name: b"ca"})
            assert made.arguments[0] == b"ca" and made.verify is True
    assert make(True, {"cadata": b"ca"})[0].verify is True
    for mode in (3, -1, None, "CERT_REQUIRED"):
        assert "cert_reqs" in refused({"cert_reqs": mode, "cadata": b"ca"})
    assert "cadata" in refused({"cert_reqs": 0, "cadata": b"ca"})


def test_the_client_certificate_has_two_names_for_each_part():
    for cert, key in (("cert", "key"), ("certfile", "keyfile"), ("cert", "keyfile")):
        made, _ = make(True, {cert: "c.pem", key: "k.pem"})
        assert made.arguments == (None, "c.pem", "k.pem")
    assert make(True, {"certfile": "both.pem"})[0].arguments == (None, "both.pem", "both.pem")
    assert "key" in refused({"key": b"k"}) and "keyfile" in refused({"keyfile": "k"})
    for one, other in (
        ("cert", "certfile"),
        ("key", "keyfile"),
        ("cadata", "ca_certs"),
        ("cafile", "ca_certs"),
    ):
        words = refused({one: b"1", other: b"2"})
        assert one in words and other in words and "not both" in words


def test_the_server_name_is_returned_for_true_and_for_a_context():
    assert make(True, {"server_hostname": "a.example"})[1] == "a.example"
    assert make(True, {"server_hostname": b"a.example"})[1] == "a.example"
    context = Context()
    assert make(context, {"server_hostname": "a.example"}) == (context, "a.example")
    for odd in ("", 5, b"", ["a"]):
        assert "server_hostname" in refused({"server_hostname": odd})


def test_a_context_is_used_as_it_is_and_other_keys_are_refused():
    context = Context()
    assert make(context) == (context, None)
    for name in ("cadata", "cert_reqs", "cert", "anything"):
        assert name in refused({name: b"x"}, context)


def test_the_module_ssl_is_the_same_as_true():
    assert make(sys, {"cadata": b"ca", "server_hostname": "a"})[0].verify is True


def test_keys_without_effect_are_accepted_only_if_their_value_is_what_happens():
    for params in ({"do_handshake": True}, {"do_handshake": False}, {"server_side": False}):
        make(True, params)
        make(Context(), params)
    assert "server_side" in refused({"server_side": True})
    assert "server_side" in refused({"server_side": True}, Context())
    for name in ("ssl_version", "ciphers", "psk", "cert_req", "CADATA"):
        assert name in refused({name: 1})


def test_other_types_are_refused():
    for odd in (1, "ca.pem", {"cadata": b"ca"}, {}, [], Context):
        assert "SSLContext" in str(raises(TypeError, make, odd))
    for odd in ("cadata", [("cadata", b"ca")], 1):
        raises(TypeError, make, True, odd)


def test_the_dict_of_the_caller_is_not_changed():
    params = {"server_hostname": "a", "cadata": b"ca", "cert_reqs": 2}
    make(True, params)
    assert sorted(params) == ["cadata", "cert_reqs", "server_hostname"]
