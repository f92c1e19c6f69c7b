"""Replacements for `socket`, `select` and `network` in the simulated world."""

import json

import chaos_link as link

_EAGAIN, _EINPROGRESS, _ENOTCONN = 11, 115, 107


class Socket:
    """A TCP or UDP socket that does not block."""

    _next = 1
    open_sockets: dict = {}  # by number

    def __init__(self, family=2, kind=1, protocol=0):
        self.number = Socket._next
        Socket._next = Socket._next % 60000 + 1
        self.is_udp = kind == 2
        self.received = []
        self.connected = self.is_udp
        self.ended = False
        self.error = 0
        self.can_send = True
        self._peer = None
        Socket.open_sockets[self.number] = self

    def setblocking(self, flag):
        pass

    settimeout = setblocking

    def setsockopt(self, *options):
        pass

    def bind(self, address):
        pass

    def fileno(self):
        return self.number

    def connect(self, address):
        self._peer = address
        if self.is_udp:
            return
        answer = json.loads(self._call("connect", list(address)))
        if answer:
            raise OSError(answer)
        raise OSError(_EINPROGRESS)

    def _call(self, what, details=None):
        return link.call("s", json.dumps([what, self.number, details]).encode())

    def _check(self):
        if self.error:
            raise OSError(self.error)
        if not self.connected:
            raise OSError(_ENOTCONN)

    def write(self, buf, at=0, n=None):
        self._check()
        n = len(buf) - at if n is None else n
        data = bytes(memoryview(buf)[at : at + n])
        sent = int.from_bytes(link.call("t", self.number.to_bytes(2, "little") + data), "little")
        if self.error:
            raise OSError(self.error)
        if not sent:
            self.can_send = False
            return None
        return sent

    def send(self, data):
        if self.is_udp:
            return self.sendto(data, self._peer)
        sent = self.write(data)
        if sent is None:
            raise OSError(_EAGAIN)
        return sent

    def sendto(self, data, address):
        if not link.wifi:
            raise OSError(118)  # EHOSTUNREACH of lwIP
        self._call("sendto", [list(address), bytes(data).hex()])
        return len(data)

    def readinto(self, buf, n=None):
        n = len(buf) if n is None else n
        if self.received:
            data = self.received[0]
            if len(data) > n:
                self.received[0] = data[n:]
            else:
                n = len(data)
                self.received.pop(0)
            buf[:n] = data[:n]
            return n
        if self.ended:
            return 0
        self._check()
        return None

    def recvfrom(self, size):
        if not self.received:
            raise OSError(_EAGAIN)
        source, data = self.received.pop(0)
        return data[:size], source

    def recv(self, size):
        if self.is_udp:
            return self.recvfrom(size)[0]
        buf = bytearray(size)
        n = self.readinto(buf)
        if n is None:
            raise OSError(_EAGAIN)
        return bytes(buf[:n])

    def close(self):
        if Socket.open_sockets.pop(self.number, None) is not None:
            self._call("close")
        self.error = self.error or 9

    def events(self, wanted):
        """Return the events of `select.poll` that are due."""
        found = 0
        if self.received or self.ended or self.error:
            found |= 1
        if (self.connected and self.can_send) or self.error:
            found |= 4
        found &= wanted
        return found | 8 if self.error else found


def _on_data(number, data):
    socket = Socket.open_sockets.get(number)
    if socket:
        socket.received.append(data)


def _on_datagram(number, data):
    socket = Socket.open_sockets.get(number)
    if socket:
        host = ".".join(str(byte) for byte in data[:4])
        socket.received.append(((host, int.from_bytes(data[4:6], "big")), data[6:]))


def _on_change(number, data):
    """A TCP connection is open (C), ended (F), can send again (T), or failed (a number)."""
    socket = Socket.open_sockets.get(number)
    if not socket:
        return
    if data == b"C":
        socket.connected = True
    elif data == b"F":
        socket.ended = True
    elif data == b"T":
        socket.can_send = True
    else:
        socket.error = int(data)


link.handlers["D"] = _on_data
link.handlers["U"] = _on_datagram
link.handlers["S"] = _on_change


def _getaddrinfo(host, port, *options):
    parts = host.split(".")
    if len(parts) == 4 and all(part.isdigit() for part in parts):
        return [(2, 1, 0, "", (host, port))]
    blocked_ms, address = json.loads(link.call("g", host.encode()))
    link.sleep_ms(blocked_ms)  # lwIP blocks the whole program
    if not address:
        raise OSError(-2)
    return [(2, 1, 0, "", (address, port))]


class Module:
    """The module `socket`."""

    AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM, SOL_SOCKET, SO_REUSEADDR = 2, 10, 1, 2, 1, 4
    IPPROTO_TCP, IPPROTO_IP, TCP_NODELAY = 6, 0, 64
    socket = Socket
    getaddrinfo = staticmethod(_getaddrinfo)


class Poll:
    """Replaces `select.poll`."""

    def __init__(self):
        self._watched = {}

    def register(self, item, events=5):
        self._watched[id(item)] = [item, events]

    modify = register

    def unregister(self, item):
        self._watched.pop(id(item), None)

    def _ready(self):
        found = []
        for item, events in self._watched.values():
            events = item.events(events)
            if events:
                found.append((item, events))
        return found

    def ipoll(self, wait=-1, flags=0):
        found = self._ready()
        if found or wait == 0:
            link.advance(link.now + 1 if found else link.now)
            return found or self._ready()
        until = link.now + (wait if wait > 0 else 1 << 40)
        while not found and link.now < until:
            link.advance(until)
            found = self._ready()
        return found

    poll = ipoll


class Select:
    """The module `select`."""

    POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
    poll = Poll


class WLAN:
    """The Wi-Fi station."""

    IF_STA, IF_AP = 0, 1
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = 0, 1, 2
    _active = False
    _config: dict = {}

    def __init__(self, interface=0):
        pass

    def _call(self, *what):
        found = json.loads(link.call("n", json.dumps(what).encode()))
        link.sleep_ms(found.get("ms", 0))
        if "error" in found:
            raise OSError(found["error"])
        return found.get("value")

    def active(self, on=None):
        if on is not None:
            WLAN._active = bool(on)
            self._call("active", bool(on))
        return WLAN._active

    def connect(self, ssid=None, key=None, **more):
        if not WLAN._active:
            raise OSError("Wifi Not Started")
        self._call("connect", ssid, key)

    def disconnect(self):
        self._call("disconnect")

    def isconnected(self):
        return bool(link.wifi)

    def status(self, name=None):
        return self._call("status", name)

    def ifconfig(self, addresses=None):
        host = "192.168.1.77" if link.wifi else "0.0.0.0"
        return (host, "255.255.255.0", "192.168.1.1", "192.168.1.1" if link.wifi else "0.0.0.0")

    def ipconfig(self, *names, **settings):
        host = self.ifconfig()
        return {"addr4": host[:2], "gw4": host[2], "has_dhcp4": bool(link.wifi), "dhcp4": True}.get(
            names[0] if names else None
        )

    def config(self, *names, **settings):
        if settings:
            WLAN._config.update(settings)
            return None
        if names[0] == "mac":
            return b"\x24\x6f\x28\x00\x00\x01"
        return WLAN._config.get(names[0], 0)

    def scan(self):
        return self._call("scan")


class Network:
    """The module `network`."""

    STA_IF, AP_IF = 0, 1
    WLAN = WLAN

    @staticmethod
    def hostname(name=None):
        return "chaos"

    @staticmethod
    def country(code=None):
        return "XX"

    @staticmethod
    def ipconfig(*names, **settings):
        return WLAN().ifconfig()[3] if names == ("dns",) else None


def choose_port(is_rp2):
    """Set the constants of `network` to those of the ESP32 or of the RP2."""
    names = (
        "STAT_IDLE STAT_CONNECTING STAT_GOT_IP STAT_NO_AP_FOUND STAT_WRONG_PASSWORD STAT_CONNECT_FAIL".split()
    )
    values = (0, 1, 3, -2, -3, -1) if is_rp2 else (1000, 1001, 1010, 201, 202, 203)
    for name, value in zip(names, values):
        setattr(Network, name, value)
    if not is_rp2:
        Network.STAT_BEACON_TIMEOUT, Network.STAT_ASSOC_FAIL, Network.STAT_HANDSHAKE_TIMEOUT = 200, 203, 204
        Module.TCP_NODELAY = 1
