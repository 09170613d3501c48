"""TLS certificates: make one that signs itself for a first try, and tell what a certificate file says.

A self-signed certificate is its own root, so importing this one file makes clients trust the drive. It is not
a CA (basicConstraints CA:FALSE): whoever steals its key can pretend to be this drive, and nobody else.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vfs.errors import AlreadyExists, ConfigurationError, InvalidRequest

CERT_NAME, KEY_NAME = "kelp.crt", "kelp.key"
VALID_DAYS = 825  # Apple's systems refuse a server certificate that is valid for longer, an imported one too
_MAX_COMMON_NAME = 64  # X.520 upper bound; clients look at the alternative names only
_SIGNING_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate file says: the host names and addresses it is for, and until when (UTC)."""

    names: tuple[str, ...]
    self_signed: bool
    expires: datetime.datetime

    def is_for(self, host: str) -> bool:
        """Whether a client that connects to `host` finds its name here (RFC 6125 §6.4, one wildcard label)."""
        host = host.lower().rstrip(".")
        _, _, parent = host.partition(".")
        return any(name.lower() in (host, f"*.{parent}" if parent else host) for name in self.names)


def make_self_signed(hosts: Sequence[str], now: datetime.datetime, days: int = VALID_DAYS) -> tuple[bytes, bytes]:
    """A new certificate for `hosts` (names or IP addresses) and its key, both PEM.

    ECDSA on P-256, which Schannel, Secure Transport, OpenSSL and GnuTLS all speak; valid from an hour ago, so that
    a client whose clock is behind accepts it. Raises InvalidRequest when a host is no name and no address.
    """
    if not hosts:
        raise InvalidRequest("a certificate needs at least one host name")
    names = [_alternative_name(host) for host in dict.fromkeys(hosts)]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:_MAX_COMMON_NAME])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days) - datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNING_ONLY, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def write_self_signed(
    hosts: Sequence[str], folder: Path, now: datetime.datetime, *, replace: bool = False
) -> tuple[Path, Path]:
    """Make a certificate for `hosts` and write `kelp.crt` and `kelp.key` (readable by the owner only) to `folder`.

    Raises AlreadyExists when either file is there and `replace` is not set, InvalidRequest for a bad host, and
    ConfigurationError when the folder cannot be written.
    """
    cert_file, key_file = folder / CERT_NAME, folder / KEY_NAME
    taken = next((file for file in (cert_file, key_file) if file.exists()), None)
    if taken and not replace:
        raise AlreadyExists(f"{taken} exists already; --force replaces it")
    certificate, key = make_self_signed(hosts, now)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(key_file, key, 0o600)
        _write(cert_file, certificate, 0o644)
    except OSError as error:
        raise ConfigurationError(f"cannot write to {folder}: {error.strerror}") from error
    return cert_file, key_file


def read_facts(cert_file: Path) -> CertificateFacts:
    """What the first certificate in the PEM file `cert_file` says; ConfigurationError when it holds none."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except OSError as error:
        raise ConfigurationError(f"cannot read the certificate {cert_file}: {error.strerror}") from error
    except x509.ExtensionNotFound:
        names = None
    except ValueError as error:
        raise ConfigurationError(f"{cert_file} is not a certificate in PEM form") from error
    hosts = _hosts(names) if names is not None else ()
    return CertificateFacts(hosts, certificate.issuer == certificate.subject, certificate.not_valid_after_utc)


def check_pair(cert_file: Path, key_file: Path) -> CertificateFacts:
    """Prove that a server can start with these files: readable, PEM, belonging together, key not encrypted.

    Raises ConfigurationError naming the file and what is wrong with it.
    """
    facts = read_facts(cert_file)
    if not os.access(key_file, os.R_OK):
        raise ConfigurationError(f"cannot read the key {key_file}: no such file, or no permission")
    try:
        # The callable is asked only for an encrypted key; without it OpenSSL would prompt on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, lambda: _refuse(key_file))
    except ssl.SSLError as error:
        reason = "does not belong to" if error.reason == "KEY_VALUES_MISMATCH" else "cannot be used with"
        raise ConfigurationError(f"the key {key_file} {reason} the certificate {cert_file}") from error
    return facts


def _refuse(key_file: Path) -> NoReturn:
    raise ConfigurationError(f"the key {key_file} is encrypted; give one without a passphrase")


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.rstrip(".").split(".")
    if not host.isascii() or not all(0 < len(label) < 64 and _is_label(label) for label in labels) or len(host) > 253:
        raise InvalidRequest(f"not a host name or address: {host!r}")
    return x509.DNSName(host.lower())


def _is_label(label: str) -> bool:
    return label == "*" or (label.replace("-", "").replace("_", "").isalnum() and label.strip("-") == label)


def _hosts(names: x509.SubjectAlternativeName) -> tuple[str, ...]:
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _write(file: Path, data: bytes, mode: int) -> None:
    """Write a new file beside the old one and put it in place, so that a crash leaves one whole file or the other."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(file)
