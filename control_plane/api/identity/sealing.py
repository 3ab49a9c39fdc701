"""Tokens as the database has them: encrypted, each bound to its row."""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class UnsealError(Exception):
    """The key is another one, or the text was changed or moved to another row."""


class Sealer:
    """Encrypts by AES-256-GCM with a key derived for one ``purpose``; what it is bound to is authenticated,
    not kept."""

    def __init__(self, secret: str, purpose: str) -> None:
        def derived(use: str) -> bytes:
            info = f"lakehouse-lab console {purpose} {use}".encode()
            return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.encode())

        self._cipher = AESGCM(derived("encryption"))
        self._mac_key = derived("authentication")

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, bound_to.encode())

    def unseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The plain text. Raises UnsealError."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError) as error:
            raise UnsealError from error

    def mac(self, text: str) -> str:
        """A code (hex) that only who has the key can make of ``text``."""
        return hmac.new(self._mac_key, text.encode(), hashlib.sha256).hexdigest()

    def is_mac(self, code: str | None, text: str) -> bool:
        """Whether ``code`` is that of ``text``, in constant time."""
        return code is not None and hmac.compare_digest(code.encode(), self.mac(text).encode())
