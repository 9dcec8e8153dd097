"""A certificate that fgd signs itself, for clients that must speak TLS and cannot ask for more.

It proves nothing, and nobody but a client that checks nothing accepts it: functions written for the cloud's `https`
endpoint, inside of their own sandbox, where there is no network to listen on.
"""

import datetime
import os
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

FILE: Final = "tls.pem"
_DAYS: Final = 3650
_DAY_S: Final = 86400


def server_context(state_dir: Path, address: str, now_s: float) -> ssl.SSLContext:
    """Settings of a TLS server, with key and certificate in the state directory, which are made when they are missing,
    damaged or for another address. Waits for the disk.

    Args:
        address: the IP address that the certificate is for.
        now_s: epoch seconds; the certificate is good for ten years from when it is made.

    Raises:
        OSError: it can be neither read nor written.
    """
    path = state_dir / FILE
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        good = [ip_address(address)] == names.get_values_for_type(x509.IPAddress)
        if not good or certificate.not_valid_after_utc.timestamp() < now_s + _DAY_S:
            raise ValueError("of no use any more")
        return _context(path)
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound, ssl.SSLError):
        _make(path, address, now_s)
        return _context(path)


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(path)
    return context


def _make(path: Path, address: str, now_s: float) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fgd")])
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(pem)
    new.rename(path)
