"""The fleet's own certificate authority, and what it signs.

EC keys of P-256, which every mbedTLS of MicroPython's has, and which are small. PEM, with the key
in the form of SEC 1, which a build without PKCS 8 reads as well.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
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

# The clock of a board without a battery begins in 2000 or 2021: a certificate of today would be one
# of the future to it, and refused.
_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)
_CA_YEARS = 30
_YEAR = datetime.timedelta(days=365)
_RENEW = datetime.timedelta(days=90)  # before the end


@dataclass(frozen=True)
class CertificateAndKey:
    """A certificate with its key, both PEM."""

    cert: bytes
    key: bytes


class CertificateAuthority:
    """Signs for the fleet. Its key stays in `folder`, for nobody else to read."""

    def __init__(self, folder: Path, common_name: str = "umqtt5 fleet") -> None:
        """Takes the one in `folder`, or makes one. Raises UserError where it can't be read."""
        secret_files.make_folder(folder)
        cert, key = folder / "ca.pem", folder / "ca.key"
        self.is_new = not key.exists()
        if self.is_new:
            made = ec.generate_private_key(ec.SECP256R1())
            secret_files.write_file(key, _key_pem(made))
            secret_files.write_file(cert, _self_signed(made, common_name).public_bytes(Encoding.PEM))
        try:
            loaded = load_pem_private_key(key.read_bytes(), None)
            self._cert = x509.load_pem_x509_certificate(cert.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{folder}: its ca.pem and ca.key can't be read: bring them back from a copy"
            ) from error
        if (
            not isinstance(loaded, ec.EllipticCurvePrivateKey)
            or loaded.public_key() != self._cert.public_key()
        ):
            raise UserError(f"{folder}: ca.key is not the key of ca.pem: bring both back from a copy")
        self._key = loaded

    @property
    def certificate_pem(self) -> bytes:
        """Its own certificate, which devices and brokers trust."""
        return self._cert.public_bytes(Encoding.PEM)

    def issue_client(self, name: str, years: int) -> CertificateAndKey:
        """A device's: its name is the CN, which a broker may take for the user, and in the SAN."""
        return self._issue(name, [x509.DNSName(name)], ExtendedKeyUsageOID.CLIENT_AUTH, years)

    def issue_server(self, host: str, years: int = 10) -> CertificateAndKey:
        """A broker's, for a name or an address."""
        return self._issue(host, _names(host), ExtendedKeyUsageOID.SERVER_AUTH, years)

    def _issue(
        self, name: str, names: list[x509.GeneralName], usage: x509.ObjectIdentifier, years: int
    ) -> CertificateAndKey:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        signed_by = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        cert = (
            x509.CertificateBuilder()
            .subject_name(_subject(name[:64]))
            .issuer_name(self._cert.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(min(now + years * _YEAR, self._cert.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signed_by), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return CertificateAndKey(cert.public_bytes(Encoding.PEM), _key_pem(key))

    def is_valid(self, pair: CertificateAndKey, name: str) -> bool:
        """Whether a pair is of this authority, of this name, and good for some months more."""
        with contextlib.suppress(ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            cert = x509.load_pem_x509_certificate(pair.cert)
            cert.verify_directly_issued_by(self._cert)
            key = load_pem_private_key(pair.key, None)
            names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            left = cert.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
            return (
                key.public_key() == cert.public_key()
                and list(names) in ([x509.DNSName(name)], _names(name))
                and left > _RENEW
            )
        return False


def _names(host: str) -> list[x509.GeneralName]:
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
        .not_valid_before(_FROM)
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
