"""X.509 certificate authority of a fleet: issues TLS certificates for devices, operators and broker.

Keys are EC P-256: they are small, and mbedTLS in every build of MicroPython supports them. Files are PEM.
Keys are in the SEC 1 format, which mbedTLS builds without PKCS #8 can read.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.errors import UserError
from tools.fleet import secret_files
from tools.text_files import read_bytes

# The clock of a board starts in 2000 or 2021. Until a time server has set it, the board would refuse a
# certificate that is valid from today.
_VALID_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)
_CA_YEARS = 30
_YEAR = datetime.timedelta(days=365)
_RENEW_BEFORE = datetime.timedelta(days=90)  # certificates that expire sooner are replaced
# A revocation list is refused, and with it every client, while the clock of the broker is before its date.
_LIST_BACKDATED = datetime.timedelta(days=1)


@dataclass(frozen=True)
class CertificateAndKey:
    """A certificate and its private key, both PEM."""

    cert: bytes
    key: bytes


class CertificateAuthority:
    """Certificate authority of one fleet: `ca.pem` and `ca.key` in `folder`, readable only by the owner."""

    def __init__(self, folder: Path, common_name: str = "umqtt5 fleet") -> None:
        """Load the authority from `folder`, or create it there if `ca.key` does not exist.

        Raises UserError if the files cannot be read or the key does not match the certificate.
        """
        secret_files.make_folder(folder, may_be_link=True)
        cert, key = folder / "ca.pem", folder / "ca.key"
        if not key.exists():
            new_key = ec.generate_private_key(ec.SECP256R1())
            new_cert = _self_signed(new_key, common_name).public_bytes(Encoding.PEM)
            secret_files.write_file(cert, new_cert, durable=True)
            secret_files.write_file(key, _key_pem(new_key), durable=True)
        try:
            loaded = load_pem_private_key(read_bytes(key), None)
            self._cert = x509.load_pem_x509_certificate(read_bytes(cert))
        except (UserError, ValueError, TypeError) as error:
            raise UserError(
                f"{folder}: ca.pem or ca.key cannot be read. Restore both from a backup"
            ) from error
        if (
            not isinstance(loaded, ec.EllipticCurvePrivateKey)
            or loaded.public_key() != self._cert.public_key()
        ):
            raise UserError(f"{folder}: ca.key does not match ca.pem. Restore both from a backup")
        self._folder = folder
        self._key = loaded

    @property
    def certificate_pem(self) -> bytes:
        """The authority's own certificate, PEM: the CA file for devices, operators and broker."""
        return self._cert.public_bytes(Encoding.PEM)

    @property
    def name(self) -> str:
        """The common name of the authority."""
        return str(self._cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    @property
    def expires(self) -> datetime.datetime:
        """The end of the authority's own certificate (UTC). No certificate that it issues is valid longer."""
        return self._cert.not_valid_after_utc

    def renew(self) -> None:
        """Replace the authority's own certificate by one that is valid for 30 years from now.

        Name and key stay. So every certificate that the authority has issued remains valid, a device with the
        old CA file accepts the broker until the end of the old certificate, and the order in which devices
        and broker get the new file does not matter.
        """
        renewed = _self_signed(self._key, self.name)
        secret_files.write_file(self._folder / "ca.pem", renewed.public_bytes(Encoding.PEM), durable=True)
        self._cert = renewed

    def issue_client(self, name: str, years: int, key: bytes | None = None) -> CertificateAndKey:
        """Issue a client certificate, for the private key `key` (PEM), or for a new key.

        `name` becomes the CN and the SAN. A broker may use the CN as the user name.
        """
        return self._issue(name, [x509.DNSName(name)], ExtendedKeyUsageOID.CLIENT_AUTH, years, key)

    def issue_server(self, host: str, years: int = 10, key: bytes | None = None) -> CertificateAndKey:
        """Issue a server certificate for a broker. `host` is its DNS name or IP address."""
        return self._issue(host, _san(host), ExtendedKeyUsageOID.SERVER_AUTH, years, key)

    def revocation_list(self, serials: Iterable[int], previous: bytes) -> bytes:
        """Return the certificate revocation list (CRL), PEM, with these serial numbers.

        `previous` is the last list, empty if there was none. It is returned if nothing has changed. The list
        is valid as long as the authority, because OpenSSL refuses every client when the list has expired. Of
        two lists OpenSSL uses the one with the later date, so each list is at least 1 s later than the one
        before.
        """
        wanted = set(serials)
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        date, number = now - _LIST_BACKDATED, 1
        with contextlib.suppress(ValueError, x509.ExtensionNotFound):
            old = x509.load_pem_x509_crl(previous)
            is_own = old.is_signature_valid(self._key.public_key())
            if (
                is_own
                and {one.serial_number for one in old} == wanted
                and old.next_update_utc == self.expires
            ):
                return previous
            number = old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
            date = max(date, old.last_update_utc + datetime.timedelta(seconds=1))
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._cert.subject)
            .last_update(date)
            .next_update(max(self.expires, date + _LIST_BACKDATED))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        for serial in sorted(wanted):
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)

    def _issue(
        self,
        name: str,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        years: int,
        key_pem: bytes | None,
    ) -> CertificateAndKey:
        key = _load_key(key_pem) if key_pem else ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        cert = (
            x509.CertificateBuilder()
            .subject_name(_subject(name[:64]))
            .issuer_name(self._cert.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_VALID_FROM)
            .not_valid_after(min(now + years * _YEAR, self._cert.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(self._key_identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return CertificateAndKey(cert.public_bytes(Encoding.PEM), _key_pem(key))

    def is_valid(self, pair: CertificateAndKey, name: str) -> bool:
        """Return whether a certificate and key can still be used for `name`.

        This authority must have issued the certificate for `name`, the key must match it, and more than 90
        days must be left until it expires, unless it is valid as long as the authority itself.
        """
        with contextlib.suppress(ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            cert = x509.load_pem_x509_certificate(pair.cert)
            cert.verify_directly_issued_by(self._cert)
            key = load_pem_private_key(pair.key, None)
            names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            left = cert.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
            enough = datetime.timedelta() if cert.not_valid_after_utc == self.expires else _RENEW_BEFORE
            return (
                key.public_key() == cert.public_key()
                and list(names) in ([x509.DNSName(name)], _san(name))
                and left > enough
            )
        return False


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return a private key. Raises ValueError if it is not an EC key."""
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")
    return key


def _san(host: str) -> list[x509.GeneralName]:
    try:
        return [x509.IPAddress(ipaddress.ip_address(host))]
    except ValueError:
        return [x509.DNSName(host)]


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID_FROM)
        .not_valid_after(now + _CA_YEARS * _YEAR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
