"""Replacements for the hardware and the network of a board, for measurements of the heap.

They hold as little heap as possible, because their counterparts on a board are in C. The sockets answer as
a broker and a time server. The clock advances only when the program waits.
"""

import os
import sys
from random import getrandbits

_TICKS_MASK = 0x3FFFFFFF
_NOW = 1_800_000_000  # seconds since 1970
_AGAIN = 11


class Time:
    """The module `time`, with a clock that advances when the program waits."""

    now = 1000

    @staticmethod
    def ticks_ms():
        return Time.now & _TICKS_MASK

    @staticmethod
    def ticks_us():
        return Time.now * 1000 & _TICKS_MASK

    @staticmethod
    def ticks_add(ticks, delta):
        return ticks + delta & _TICKS_MASK

    @staticmethod
    def ticks_diff(a, b):
        return ((a - b + 0x20000000) & _TICKS_MASK) - 0x20000000

    @staticmethod
    def sleep_ms(ms):
        Time.now += ms

    @staticmethod
    def sleep_us(us):
        pass

    @staticmethod
    def sleep(seconds):
        Time.now += int(seconds * 1000)

    @staticmethod
    def time():
        return _NOW + Time.now // 1000

    @staticmethod
    def gmtime(seconds=None):
        return (2027, 1, 15, 8, 0, 0, 4, 15) if seconds else (1970, 1, 1, 0, 0, 0, 3, 1)


class Pin:
    IN, OUT, OPEN_DRAIN = 0, 1, 2
    PULL_UP, PULL_DOWN = 1, 2
    IRQ_RISING, IRQ_FALLING = 8, 4
    _value = 0

    def __init__(self, number, mode=-1, pull=-1, value=None):
        if value:
            self._value = value

    def value(self, *level):
        if level:
            self._value = level[0]
        return self._value

    def init(self, *mode):
        pass

    def irq(self, **options):
        pass


class PWM:
    def __init__(self, pin, **settings):
        pass

    def duty_u16(self, *duty):
        pass

    duty_ns = freq = duty_u16

    def deinit(self):
        pass


class ADC:
    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3
    CORE_TEMP = 4

    def __init__(self, pin, **settings):
        pass

    def read_u16(self):
        return 20000

    def read_uv(self):
        return 1000000


_BME280 = {
    0xD0: b"\x60",
    0x88: b"p\x6b\x43\x67\x18\xfc\x7d\x8e\x43\xd6\xd0\x0b\x27\x0b\x8c\x00\xf9\xff\x8c\x3c\xf8\xc6\x70\x17",
    0xA1: b"\x4b",
    0xE1: b"\x67\x01\x00\x15\x24\x03\x1e",
    0xF3: b"\0",
    0xF7: b"\x65\x5a\xc0\x7e\xed\x00\x75\x30",
}


class I2C:
    """A bus with a BME280 and an SHT3x."""

    def __init__(self, *number, **pins):
        pass

    def scan(self):
        return [0x44, 0x76]

    def readfrom_mem(self, address, register, n):
        return _BME280[register][:n]

    def readfrom_mem_into(self, address, register, buf):
        buf[:] = _BME280[register][: len(buf)]

    def writeto_mem(self, *data):
        pass

    writeto = writeto_mem

    def readfrom_into(self, address, buf):
        buf[:] = b"\x66\x66\x93\x66\x66\x93"


class WDT:
    def __init__(self, timeout=0):
        pass

    def feed(self):
        pass


class RTC:
    def datetime(self, *now):
        pass

    def memory(self, *data):
        return b""


class Machine:
    """The module `machine`."""

    Pin, PWM, ADC, I2C, WDT, RTC = Pin, PWM, ADC, I2C, WDT, RTC
    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
    mem32 = {0x40058008: 0, 0x400D8008: 0}

    @staticmethod
    def reset_cause():
        return 1

    @staticmethod
    def unique_id():
        return b"12345678"

    @staticmethod
    def mem_backup():
        return [0, 0, 0, 0]

    @staticmethod
    def reset():
        raise SystemExit


class WLAN:
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = 0, 1, 2

    def __init__(self, interface=0):
        pass

    def active(self, *on):
        return True

    connect = disconnect = active

    def isconnected(self):
        return True

    def status(self, name=None):
        return -60 if name else 3

    def config(self, *name, **settings):
        return 0

    def ifconfig(self):
        return ("192.168.1.2", "255.255.255.0", "192.168.1.1", "192.168.1.1")


class Network:
    """The module `network`."""

    WLAN = WLAN
    STA_IF = 0
    STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP = 0, 1, 3

    @staticmethod
    def hostname(*name):
        return "board"

    @staticmethod
    def ipconfig(name):
        return "192.168.1.1"


class Socket:
    """A TCP socket that is connected to a broker, or a UDP socket that is connected to a time server."""

    def __init__(self, family=2, kind=1, protocol=0):
        self._answers = b""
        self._left = 0  # bytes of a packet that will come in the next calls of `write`

    def setblocking(self, flag):
        pass

    def setsockopt(self, *options):
        pass

    connect = bind = settimeout = setsockopt

    def close(self):
        pass

    def write(self, buf, at=0, n=None):
        """Answer the packets in `buf` as a broker does. Only the payload of a packet may come later."""
        end = at + (len(buf) - at if n is None else n)
        sent = end - at
        skipped = min(self._left, sent)
        self._left -= skipped
        at += skipped
        while at < end:
            kind = buf[at] >> 4
            first = buf[at]
            size = shift = 0
            while True:
                at += 1
                size |= (buf[at] & 0x7F) << shift
                shift += 7
                if buf[at] < 0x80:
                    break
            at += 1
            self._answers += self._answer(kind, first, bytes(buf[at : min(at + size, end)]))
            at += size
            self._left = max(0, at - end)
        return sent

    def _answer(self, kind, first, body):
        if kind == 1:
            return b"\x20\x06\x00\x00\x03\x22\x00\x10"  # CONNACK: Topic Alias Maximum 16
        if kind == 3 and first & 6:
            at = 2 + (body[0] << 8) + body[1]
            return (b"\x40\x02" if first & 6 == 2 else b"\x50\x02") + body[at : at + 2]
        if kind == 6:
            return b"\x70\x02" + body[:2]
        if kind in (8, 10):
            return bytes(((kind + 1) << 4, 4)) + body[:2] + b"\x00\x00"
        return b"\xd0\x00" if kind == 12 else b""

    def readinto(self, buf, n=None):
        n = min(len(buf) if n is None else n, len(self._answers))
        if not n:
            return None
        buf[:n] = self._answers[:n]
        self._answers = self._answers[n:]
        return n

    def send(self, request):
        """Answer the request of a client of NTP."""
        now = (_NOW + 2208988800).to_bytes(4, "big")
        self._answers = b"\x24\x01" + bytes(22) + request[40:48] + bytes(8) + now + bytes(4)

    def recv(self, n):
        if not self._answers:
            raise OSError(_AGAIN)
        answers, self._answers = self._answers, b""
        return answers

    def sendto(self, request, address):
        """Answer a query for the address of a name."""
        answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x01\x00\x00\x00\x04\xc0\xa8\x01\x05"
        self._answers = request[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + request[12:] + answer
        self._server = address

    def recvfrom(self, n):
        return self.recv(n), self._server


class SocketModule:
    """The module `socket`."""

    AF_INET, SOCK_STREAM, SOCK_DGRAM, SOL_SOCKET, SO_REUSEADDR, TCP_NODELAY = 2, 1, 2, 1, 4, 64
    socket = Socket

    @staticmethod
    def getaddrinfo(host, port, *options):
        return [(2, 1, 0, "", (host, port))]


class Poll:
    """The object that `select.poll` returns. Each stream is always ready; waiting advances the clock."""

    def register(self, stream, events=0):
        pass

    modify = unregister = register

    def ipoll(self, wait=0, flags=0):
        Time.now += max(1, wait) if wait < 100 else 100
        return ((None, 5),)

    poll = ipoll


class Select:
    """The module `select`."""

    POLLIN, POLLOUT, poll = 1, 4, Poll


class TlsStream:
    def __init__(self, stream):
        self._stream = stream
        self.write = stream.write
        self.readinto = stream.readinto
        self.close = stream.close

    def cipher(self):
        return ()


class SSLContext:
    verify_mode = 0

    def __init__(self, protocol):
        pass

    def load_verify_locations(self, *data, **more):
        pass

    load_cert_chain = set_ciphers = load_verify_locations

    def wrap_socket(self, stream, **options):
        return TlsStream(stream)


class Tls:
    """The modules `ssl` and `tls`."""

    SSLContext = SSLContext
    PROTOCOL_TLS_CLIENT, CERT_NONE, CERT_REQUIRED = 0, 0, 2


class NeoPixel:
    def __init__(self, pin, n):
        self.n = n
        self.buf = bytearray(n * 3)

    def fill(self, color):
        pass

    def __setitem__(self, i, color):
        pass

    def write(self):
        pass


class Dht:
    """DHT11 and DHT22."""

    def __init__(self, pin):
        self.buf = bytearray(5)

    def measure(self):
        pass

    def temperature(self):
        return 20 + getrandbits(2)

    def humidity(self):
        return 50 + getrandbits(2)


class OneWire:
    def __init__(self, pin):
        pass


class DS18X20:
    def __init__(self, bus):
        self.buf = bytearray(9)

    def scan(self):
        return [b"\x28\x01\x02\x03\x04\x05\x06\x07"]

    def convert_temp(self):
        pass

    def read_temp(self, rom):
        return 20 + getrandbits(2)


class Esp32:
    """The module `esp32`."""

    @staticmethod
    def mcu_temperature():
        return 30 + getrandbits(2)

    @staticmethod
    def wake_on_ext0(pin, level):
        pass


class Drivers:
    """The modules `neopixel`, `dht`, `onewire` and `ds18x20`."""

    NeoPixel, OneWire, DS18X20 = NeoPixel, OneWire, DS18X20
    DHT11 = DHT22 = Dht


def install(is_rp2):
    """Put the replacements in place of the modules of a board with an RP2 or an ESP32."""
    modules = sys.modules
    modules["time"] = Time
    modules["machine"] = Machine
    modules["network"] = Network
    modules["socket"] = SocketModule
    modules["select"] = Select
    modules["ssl"] = modules["tls"] = Tls
    for name in ("neopixel", "dht", "onewire", "ds18x20"):
        modules[name] = Drivers
    modules["rp2" if is_rp2 else "esp32"] = Esp32
    if not hasattr(os, "urandom"):  # the 32-bit VM
        os.urandom = bytes
