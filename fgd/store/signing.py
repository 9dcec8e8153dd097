"""The key that signs messages to HTTP endpoints, and the certificate by which receivers check them."""

import base64
import hashlib
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from fgd.errors import StateError
from fgd.store.self_signed import write_self_signed

FILE: Final = "signing.pem"
_BITS: Final = 2048


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
        write_self_signed(path, rsa.generate_private_key(65537, _BITS), "fgd messages", now_s)
    data = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(data, None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("no RSA key")
        return Signer(key, x509.load_pem_x509_certificate(data))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateError(f"{path}: damaged ({error}); restore it, or delete it and a new key is made") from error
