"""The clock floor: the latest time that has certainly passed. A clock that shows an earlier time is wrong.

It is the latest of these times:

- the time when this version of the application was written (`timestamps.BUILD_TIME`)
- the start of the validity of the CA certificate and of the client certificate: both were created before
  they were copied to the device
- the time of the last connection, which is stored in the file `clock` about once a day. A time after the end
  of the CA certificate is ignored.
"""

from binascii import a2b_base64, crc32

from micropython import const

from .node.timestamps import BUILD_TIME

_FILE = "clock"  # decimal seconds since 1970, and their CRC-32 in hexadecimal
_MAX_DER = const(1536)  # bytes of a certificate that are read: the validity is near the start
_FOREVER = const(0xFFFFFFFF)


def read_floor(paths):
    """Return the clock floor and the stored time, in seconds since 1970; 0 if no time is stored.

    `paths` are the names of the CA certificate and of the client certificate, None if there is no such file.
    """
    floor = BUILD_TIME
    end = _FOREVER
    for path in paths:
        if path:
            start, until = read_validity(path)
            floor = max(floor, start)
            end = min(end, until)
    stored = _load()
    return max(floor, stored) if stored <= end else floor, stored


def read_validity(path):
    """Return the times between which the first certificate in a file is valid, in seconds since 1970.

    Returns (0, 0xFFFFFFFF) if the file can't be read.
    """
    try:
        return _parse_validity(_read_der(path))
    except Exception:  # the TLS module reports what is wrong with the file
        return 0, _FOREVER


def _read_der(path):
    """Return the start of the first certificate in a PEM or DER file."""
    with open(path, "rb") as file:
        first = file.read(1)
        if first == b"\x30":
            return first + file.read(_MAX_DER)
        text = b""
        is_inside = False
        for line in file:
            if b"---BEGIN CERTIFICATE-" in line:
                is_inside = True
            elif is_inside:
                if line.startswith(b"-----END") or len(text) > _MAX_DER:
                    break
                text += line.strip()
    return a2b_base64(text[: len(text) // 4 * 4])


def _parse_validity(der):
    """Return the validity in a certificate (RFC 5280, section 4.1), of which the end may be missing."""
    at = _element(der, 0)[0]  # Certificate
    at = _element(der, at)[0]  # TBSCertificate
    if der[at] == 0xA0:
        at = _element(der, at)[1]  # version
    for _ in range(3):  # serial number, algorithm, issuer
        at = _element(der, at)[1]
    at = _element(der, at)[0]  # validity
    start, at = _parse_time(der, at)
    return start, min(_parse_time(der, at)[0], _FOREVER)


def _element(der, at):
    """Return the offsets of the content and of the end of an element in DER."""
    size = der[at + 1]
    at += 2
    if size & 0x80:
        n = size & 0x7F
        size = int.from_bytes(der[at : at + n], "big")
        at += n
    return at, at + size


def _parse_time(der, at):
    """Return a time in seconds since 1970, and the offset behind it."""
    start, end = _element(der, at)
    text = der[start:end].decode()
    if der[at] == 0x17:  # UTCTime, with a year of two digits
        text = ("19" if text >= "50" else "20") + text
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    if month < 3:  # the formula counts the days of years that begin in March
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
    return ((days * 24 + int(text[8:10])) * 60 + int(text[10:12])) * 60 + int(text[12:14]), end


def _load():
    """Return the stored time, 0 if there is none or if the file is damaged."""
    try:
        with open(_FILE, "rb") as file:
            text = file.read(24)
        number, _, checksum = text.partition(b" ")
        return int(number.decode()) if checksum == _checksum(number) else 0
    except (OSError, ValueError):
        return 0


def store(seconds):
    """Store a time. Raises OSError if flash fails."""
    number = b"%d" % seconds
    with open(_FILE, "wb") as file:
        file.write(number + b" " + _checksum(number))


def _checksum(number):
    return b"%08x" % (crc32(number) & 0xFFFFFFFF)
