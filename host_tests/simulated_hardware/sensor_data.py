"""Sensor data with checksums, as in the data sheets of DS18B20, SHT3x, DHT22 and BME280."""

from __future__ import annotations

import struct
from typing import Any


def crc_onewire(data: bytes) -> int:
    """Return the CRC-8 of Maxim (1-Wire): polynomial x^8 + x^5 + x^4 + 1, least significant bit first."""
    crc = 0
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def scratchpad(data: bytes) -> str:
    """Return the scratchpad of a DS18B20 (eight bytes and their CRC) in hexadecimal."""
    return (data + bytes([crc_onewire(data)])).hex()


def crc_sensirion(data: bytes) -> int:
    """Return the CRC-8 of Sensirion: x^8 + x^5 + x^4 + 1, most significant bit first, initial value 0xFF."""
    crc = 0xFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = (crc << 1 ^ (0x31 if crc & 0x80 else 0)) & 0xFF
    return crc


def sht3x(temperature: float, humidity: float) -> dict[str, Any]:
    """Return the content of an I2C file for an SHT3x: its response to the measurement command."""
    answer = b""
    for word in (round((temperature + 45) / 175 * 65535), round(humidity / 100 * 65535)):
        data = word.to_bytes(2, "big")
        answer += data + bytes([crc_sensirion(data)])
    return {"answers": {"2400": answer.hex()}}


def dht(temperature: float, humidity: float) -> str:
    """Return the five bytes of a DHT22 in hexadecimal; the sign of the temperature is a separate bit."""
    data = round(humidity * 10).to_bytes(2, "big")
    sign = 0x8000 if temperature < 0 else 0
    data += (round(abs(temperature) * 10) | sign).to_bytes(2, "big")
    return (data + bytes([sum(data) & 0xFF])).hex()


def bme280() -> dict[str, Any]:
    """Return the content of an I2C file for a BME280, with the example of Bosch's BMP280 data sheet, 3.12."""
    trim = struct.pack(
        "<HhhHhhhhhhhh", 27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000
    )
    pressure, temperature = 415148 << 4, 519888 << 4
    measured = pressure.to_bytes(3, "big") + temperature.to_bytes(3, "big") + b"\x75\x30"
    registers = {"d0": "60", "88": trim.hex(), "a1": "4b", "e1": "6701001524031e", "f2": "00", "f3": "00"}
    return {"registers": {**registers, "f4": "00", "f7": measured.hex()}}
