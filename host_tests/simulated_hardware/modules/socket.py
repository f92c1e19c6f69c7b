"""Simulated `socket`: the sockets of the unix port, and `getaddrinfo` that blocks as that of lwIP does.

If the file `wlan` has `"dns": "silent"`, a name is looked up in vain for 7 s: lwIP sends four queries, after
0, 1, 2 and 4 s, and gives up after 3 s more (dns_check_entry in lib/lwip/src/core/dns.c). The function
lwip_getaddrinfo in extmod/modlwip.c waits for this.
"""

from time import sleep_ms

import simulated_io
from usocket import *  # noqa: F403
from usocket import getaddrinfo as _getaddrinfo


def getaddrinfo(host, port, *more):
    is_address = ":" in host or host.replace(".", "").isdigit()
    if not is_address and (simulated_io.read_json("wlan") or {}).get("dns") == "silent":
        print("socket.getaddrinfo(%s) blocks" % host)
        sleep_ms(7000)
        raise OSError(-2)
    return _getaddrinfo(host, port, *more)
