"""Encryption of what is secret in the database: AES-256-GCM under a key file that lies beside it.

A ciphertext is `v1:` and Base64 of nonce (12 bytes), ciphertext and tag. The context (whose value of what it is) is
authenticated, so that a ciphertext copied to another row does not decrypt there.
"""

import base64
import binascii
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fgd.errors import StateError
from fgd.store.files import replace_durably

KEY_FILE = "key"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_PREFIX = "v1:"


class Secrets:
    """Encrypts and decrypts short texts under one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, plain: str, context: str) -> str:
        """The ciphertext of a text; different every time."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, plain.encode(), context.encode())
        return _PREFIX + base64.b64encode(nonce + sealed).decode("ascii")

    def decrypt(self, ciphertext: str, context: str) -> str:
        """The text again.

        Raises:
            StateError: another key, another context, or a damaged ciphertext.
        """
        try:
            if not ciphertext.startswith(_PREFIX):
                raise ValueError("unknown form")
            sealed = base64.b64decode(ciphertext[len(_PREFIX) :], validate=True)
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise StateError(
                f"{context}: cannot be decrypted; the file '{KEY_FILE}' in the state directory is not the one it was"
                " encrypted with, or the value is damaged; restore key and database from the same backup"
            ) from error


def open_secrets(state_dir: Path) -> Secrets:
    """Reads the key file, or makes one when the state directory is new.

    Raises:
        StateError: the key is missing beside an existing catalog, has the wrong length, or is readable by others.
    """
    path = state_dir / KEY_FILE
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if (state_dir / "catalog.db").exists():
            raise StateError(
                f"{path}: missing, but the catalog beside it was encrypted with it; restore the key file from a backup"
            ) from None
        return Secrets(_make_key(path))
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise StateError(f"{path}: may be read by others (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}")
        key = file.read(_KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise StateError(f"{path}: must hold {_KEY_BYTES} bytes; restore the key file from a backup")
    return Secrets(key)


def _make_key(path: Path) -> bytes:
    """A new key, on disk under its name completely or not at all."""
    key = os.urandom(_KEY_BYTES)
    try:
        replace_durably(path, key)
    except OSError as error:
        raise StateError(f"{path}: cannot be made: {error.strerror}") from error
    return key
