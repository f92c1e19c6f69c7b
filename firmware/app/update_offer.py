"""Update offers: checks whether an offer of a new version is signed, complete and wanted.

An offer is one line of text and its signature:

    umqtt5 update 2 <device> <board> <version> <size> <SHA-256> <nonce>
    <signature>

`size` and `SHA-256` describe the manifest. `nonce` is the one in the update state of the device. The line
ends with ` force` if the version may be older, or one that was rolled back. The signature is the HMAC-SHA256
(RFC 2104) of the line as it was sent, without its newline, with the key of the device, in hexadecimal. The
line is parsed only if the signature is valid.
"""

import os
from hashlib import sha256

from micropython import const

import slot

_MAX_OFFER = const(600)  # bytes
_MAX_MANIFEST = const(32768)  # bytes
_TAG = const(8)  # characters of the signature that name the offer
_NONCE_FILE = "update_nonce"
_FORMAT = b"umqtt5 update 2 "
_NOT_AN_OFFER = "not an update offer of format 2: see docs/update.md"


def check(update, message):
    """Return (offer, tag, reason): the offer as a dict, or None and the reason why it is refused.

    The offer and the reason are None if the offer is a copy of the last one. The tag, with which the sender
    recognizes the answer, is "" if the offer has no signature. An offer with a valid signature and the right
    nonce makes the nonce invalid.
    """
    tag = ""
    try:
        if len(message) > _MAX_OFFER:
            raise ValueError("%d bytes, expected at most %d" % (len(message), _MAX_OFFER))
        line, signature, tag = _split(bytes(message.payload))
        inner, outer = make_pads(update.key)
        if not compare_digest(compute_hmac(inner, outer, line), signature):
            raise ValueError("wrong signature: check update.key")
        if tag == update.last_tag:
            return None, "", None
        offer = _parse(update, line, tag)
    except (ValueError, OSError) as error:
        return None, tag, str(error) or repr(error)
    offer["tag"] = tag
    # each chunk is authenticated, too, for this offer only
    offer["inner"] = inner + b"umqtt5 chunk " + "".join(["%02x" % c for c in signature]).encode()
    offer["outer"] = outer
    return offer, tag, None


def _split(data):
    """Return the line and the signature of an offer, as bytes, and its tag. Raises ValueError."""
    if data[:1] == b"{":
        raise ValueError("the offer has an old format: send it with the tools of the version on the device")
    line, newline, digits = data.partition(b"\n")
    if line[: len(_FORMAT)] != _FORMAT or not newline:
        raise ValueError(_NOT_AN_OFFER)
    if not _is_hex(digits, 64):
        raise ValueError("wrong signature: expected 64 hexadecimal digits")
    digits = str(digits, "utf-8")
    return line, bytes.fromhex(digits), digits[:_TAG]


def _parse(update, line, tag):
    """Return the offer in a signed line as a dict. Raises ValueError if it is refused."""
    try:
        words = str(line, "utf-8").split(" ")[3:]
    except ValueError:
        words = ()
    force = words[6:] == ["force"]
    if len(words) != 6 + force or not _is_hex(words[4].encode(), 64):
        raise ValueError(_NOT_AN_OFFER)
    name, board, version, size, digest, nonce = words[:6]
    if name != update.name:
        raise ValueError("the update is for %s, this device is %s" % (name, update.name))
    if board != update.board:
        raise ValueError("the update is for %s, this board is %s" % (board, update.board))
    if not nonce or nonce != update.load_nonce():
        raise ValueError("old nonce: the offer was sent before, or the device was restarted. Send a new one")
    update.replace_nonce(tag)
    version = _parse_number("version", version, slot.MAX_DIGITS)
    size = _parse_number("size", size, 5)
    if size > _MAX_MANIFEST:
        raise ValueError("a manifest of %d bytes is too large, expected at most %d" % (size, _MAX_MANIFEST))
    if update.trying:
        raise ValueError("version %d is not confirmed yet" % update.version)
    if not force and version <= update.rolled_back > update.version:
        raise ValueError(
            "version %d is not newer than %d, which was rolled back" % (version, update.rolled_back)
        )
    if not force and version <= update.version:
        raise ValueError("version %d is not newer than %d" % (version, update.version))
    return {"version": version, "size": size, "sha256": digest}


def _parse_number(name, word, digits):
    if not 0 < len(word) <= digits or not _is_hex(word.encode(), len(word), b"0123456789") or word[0] == "0":
        raise ValueError("%s: expected a number of 1 to %d digits without a leading 0" % (name, digits))
    return int(word)


def _is_hex(data, size, digits=b"0123456789abcdef"):
    """Return True if `data` (bytes) consists of `size` of these digits."""
    if len(data) != size:
        return False
    for c in data:
        if c not in digits:
            return False
    return True


def make_pads(key):
    """Return the two blocks that an HMAC-SHA256 with this key hashes before the data (RFC 2104)."""
    if len(key) > 64:
        key = sha256(key).digest()
    key += bytes(64 - len(key))
    return bytes([c ^ 0x36 for c in key]), bytes([c ^ 0x5C for c in key])


def compute_hmac(inner, outer, data):
    """Return the HMAC-SHA256 of `data` with the pads of a key."""
    sum = sha256(inner)
    sum.update(data)
    outer = sha256(outer)
    outer.update(sum.digest())
    return outer.digest()


def compare_digest(a, b):
    """Return True if two byte strings are equal. The run time does not depend on where they differ."""
    difference = len(a) ^ len(b)
    for i in range(min(len(a), len(b))):
        difference |= a[i] ^ b[i]
    return not difference


def load_nonce(is_wake):
    """Return the nonce that is stored on flash, or a new one if this start does not end a deep sleep."""
    if is_wake:
        try:
            with open(_NONCE_FILE) as file:
                nonce = file.read(40)
            if _is_hex(nonce.encode(), 32):
                return nonce
        except (OSError, ValueError):
            pass
    from .update import make_nonce

    nonce = make_nonce()
    try:
        save_nonce(nonce)
    except OSError as error:  # then each wake has another nonce
        print("update: %s: %s" % (_NONCE_FILE, error))
    return nonce


def save_nonce(nonce):
    """Store the nonce for the next wake from deep sleep. Raises OSError if flash fails."""
    try:
        with open(_NONCE_FILE, "w") as file:
            file.write(nonce)
    except OSError:
        _remove_nonce()  # the old nonce must not become valid again
        raise


def _remove_nonce():
    try:
        os.remove(_NONCE_FILE)
    except OSError:
        pass
