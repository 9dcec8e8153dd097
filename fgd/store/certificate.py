"""A certificate that fgd signs itself, for clients that must speak TLS and cannot ask for more.

It proves nothing, and nobody but a client that checks nothing accepts it: functions written for the cloud's `https`
endpoint, inside of their own sandbox, where there is no network to listen on.
"""

import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fgd.store.self_signed import write_self_signed

FILE: Final = "tls.pem"
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
        write_self_signed(path, ec.generate_private_key(ec.SECP256R1()), "fgd", now_s, address)
        return _context(path)


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(path)
    return context
