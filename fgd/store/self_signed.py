"""Keys with a certificate that fgd signs itself, each pair in a PEM file of the state directory."""

import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from fgd.store.files import replace_durably

_DAYS: Final = 3650


def write_self_signed(
    path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str, now_s: float, address: str = ""
) -> None:
    """Makes a certificate for a key and puts both into a file, whole or not at all. Waits for the disk.

    Args:
        name: the certificate's common name.
        now_s: epoch seconds; the certificate is good for ten years from then.
        address: the IP address that it is for, if it is for one.

    Raises:
        OSError: it cannot be written.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
    )
    if address:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    replace_durably(path, pem)
