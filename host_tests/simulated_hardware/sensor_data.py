"""Bytes as the data sheets of sensors have them, with their check sums."""

from __future__ import annotations

import struct
from typing import Any


def crc_onewire(data: bytes) -> int:
    """Maxim's: x^8 + x^5 + x^4 + 1, the lowest bit first."""
    crc = 0
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def scratchpad(data: bytes) -> str:
    """Eight bytes of a DS18B20 and their check, as a file has them."""
    return (data + bytes([crc_onewire(data)])).hex()


def crc_sensirion(data: bytes) -> int:
    """x^8 + x^5 + x^4 + 1, the highest bit first, beginning with 0xFF."""
    crc = 0xFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = (crc << 1 ^ (0x31 if crc & 0x80 else 0)) & 0xFF
    return crc


def sht3x(temperature: float, humidity: float) -> dict[str, Any]:
    """An SHT3x in the file of its address: what it answers to a measurement."""
    answer = b""
    for word in (round((temperature + 45) / 175 * 65535), round(humidity / 100 * 65535)):
        data = word.to_bytes(2, "big")
        answer += data + bytes([crc_sensirion(data)])
    return {"answers": {"2400": answer.hex()}}


def dht(temperature: float, humidity: float) -> str:
    """The five bytes of a DHT22; the sign is a bit of its own."""
    data = round(humidity * 10).to_bytes(2, "big")
    sign = 0x8000 if temperature < 0 else 0
    data += (round(abs(temperature) * 10) | sign).to_bytes(2, "big")
    return (data + bytes([sum(data) & 0xFF])).hex()


def bme280() -> dict[str, Any]:
    """A BME280 in the file of its address: the example of Bosch's data sheet of the BMP280, 3.12."""
    trim = struct.pack(
        "<HhhHhhhhhhhh", 27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000
    )
    pressure, temperature = 415148 << 4, 519888 << 4
    measured = pressure.to_bytes(3, "big") + temperature.to_bytes(3, "big") + b"\x75\x30"
    registers = {"d0": "60", "88": trim.hex(), "a1": "4b", "e1": "6701001524031e", "f2": "00", "f3": "00"}
    return {"registers": {**registers, "f4": "00", "f7": measured.hex()}}
