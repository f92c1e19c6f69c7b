"""Bytes as the data sheets of sensors have them, with their check sums."""

from __future__ import annotations


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
