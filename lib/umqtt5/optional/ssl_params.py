"""Arguments `ssl` and `ssl_params` of `umqtt5.simple.MQTTClient`: each key is used or refused."""

import sys

# key of `ssl_params`: argument of `tls.context`. The names are those of MicroPython's and of CPython's
# `ssl.wrap_socket`
_ARGUMENTS = {
    "cert": "cert",
    "certfile": "cert",
    "key": "key",
    "keyfile": "key",
    "cadata": "ca",
    "cafile": "ca",
    "ca_certs": "ca",
}

_was_warned = False  # whether the warning about an unauthenticated broker was printed


def make_context(ssl, ssl_params, server=None):
    """Return the SSLContext, and the name that the broker's certificate must contain.

    The name is None if it is the host. Without TLS both are None. `server` is used in a warning.

    `ssl` is True, the module `ssl` or an SSLContext. If it is True or the module, `ssl_params` may have
    `cert` or `certfile`, `key` or `keyfile`, `cadata`, `cafile` or `ca_certs`, `cert_reqs`. If there is a CA
    certificate, the broker's certificate is checked, even if `cert_reqs` is missing. Otherwise it is not
    checked, and a warning is printed. In all cases `ssl_params` may have `server_hostname`, `server_side`
    (False) and `do_handshake`.

    Raises ValueError for other keys and for values that contradict each other, TypeError if `ssl` has another
    type, OSError if a file can't be read.
    """
    if ssl_params is not None and not isinstance(ssl_params, dict):
        raise TypeError("ssl_params must be a dict")
    params = dict(ssl_params or {})
    if ssl is None or ssl is False:
        if params:
            raise ValueError("ssl_params needs ssl=True: without it the connection is not encrypted")
        return None, None
    hostname = params.pop("server_hostname", None)
    if isinstance(hostname, bytes):
        hostname = hostname.decode()
    if hostname is not None and not (isinstance(hostname, str) and hostname):
        raise ValueError("ssl_params: server_hostname must be a name (str)")
    if params.pop("server_side", False):
        raise ValueError(
            "ssl_params: server_side must be False, because the program is a client of the broker"
        )
    # The handshake is over when `connect` returns. So both values of these have the same effect.
    params.pop("do_handshake", None)
    params.pop("do_handshake_on_connect", None)
    if ssl is True or isinstance(ssl, type(sys)):
        return _make_context(params, server), hostname
    from ..tls import check_context

    check_context(ssl)
    for name in params:
        raise ValueError("ssl_params: %s has no effect on an SSLContext: set it in the context" % name)
    return ssl, hostname


def _make_context(params, server):
    global _was_warned
    from ..tls import context

    has_mode = "cert_reqs" in params
    mode = params.pop("cert_reqs", 0)
    if mode not in (0, 1, 2):  # ssl.CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED
        raise ValueError("ssl_params: cert_reqs must be ssl.CERT_NONE or ssl.CERT_REQUIRED")
    names: dict = {}  # argument of `tls.context`: key of `ssl_params`
    for name in params:
        argument = _ARGUMENTS.get(name)
        if argument is None:
            raise ValueError("ssl_params: %s is not supported, see umqtt5.tls.context" % name)
        if params[name] is None:
            continue
        if argument in names:
            raise ValueError("ssl_params: pass %s or %s, not both" % (names[argument], name))
        names[argument] = name
    if "ca" not in names:
        if mode:
            raise ValueError(
                "ssl_params: cert_reqs requires the CA certificate: pass cadata (bytes) or ca_certs (a path)"
            )
    elif has_mode and not mode:
        raise ValueError("ssl_params: %s has no effect with cert_reqs=ssl.CERT_NONE" % names["ca"])
    if "key" in names and "cert" not in names:
        raise ValueError("ssl_params: %s needs cert or certfile" % names["key"])
    ca, cert, key = [
        params[names[argument]] if argument in names else None for argument in ("ca", "cert", "key")
    ]
    if cert is not None and key is None:
        key = cert  # a PEM file may contain both
    made = context(ca, cert, key, verify=ca is not None)
    if ca is None and not _was_warned:
        _was_warned = True
        print(
            "umqtt5.simple: the broker %s is not authenticated. Pass its CA certificate: "
            'ssl_params={"cadata": ...}' % (server or "")
        )
    return made
