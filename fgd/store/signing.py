"""The key that signs messages to HTTP endpoints, and the certificate by which receivers check them."""

import base64
import datetime
import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from fgd.errors import StateError

FILE: Final = "signing.pem"
_BITS: Final = 2048
_DAYS: Final = 3650


class Signer:
    """RSA with SHA-256 and PKCS #1 v1.5 padding, which SMN calls v1."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        #: PEM.
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        #: 32 hexadecimal digits; another certificate has another one.
        self.certificate_id = hashlib.sha256(self.certificate).hexdigest()[:32]

    def sign(self, text: str) -> str:
        """The signature in Base64; takes about a millisecond."""
        return base64.b64encode(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def open_signer(state_dir: Path, now_s: float) -> Signer:
    """Key and certificate in the state directory, made when they are not there. Waits for the disk.

    Args:
        now_s: epoch seconds; the certificate is good for ten years from when it is made.

    Raises:
        StateError: the file is damaged.
        OSError: it can be neither read nor written.
    """
    path = state_dir / FILE
    if not path.exists():
        _make(path, now_s)
    data = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(data, None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("no RSA key")
        return Signer(key, x509.load_pem_x509_certificate(data))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateError(f"{path}: damaged ({error}); restore it, or delete it and a new key is made") from error


def _make(path: Path, now_s: float) -> None:
    key = rsa.generate_private_key(65537, _BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fgd messages")])
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
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
        file.flush()
        os.fsync(fd)
    new.rename(path)
