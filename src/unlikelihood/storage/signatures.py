"""Who vouches for a model folder: an Ed25519 signature of its record, which holds the hash of its weights.

Keys are PEM files, as OpenSSL makes them:

.. code-block:: sh

    openssl genpkey -algorithm ed25519 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
"""

import os
import re
from pathlib import Path
from typing import Any

from unlikelihood.storage.extras import needing
from unlikelihood.storage.files import replacing
from unlikelihood.storage.reading import Unreadable

SIGNED, SIGNATURE = "detector.json", "detector.sig"
TRUSTED = "UNLIKELIHOOD_TRUSTED_KEYS"
PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)


class NotTrusted(Unreadable):
    """A model folder is not signed by a key that is trusted here."""


def sign(model: str | os.PathLike[str], key: str | os.PathLike[str]) -> Path:
    """Sign a model folder, and return the file of the signature in it.

    Parameters
    ----------
    model : path
        The folder. A model that is saved there later is not signed.
    key : path
        PEM file of an Ed25519 private key, without a password.

    Raises
    ------
    ValueError
        If the folder has no record, or the file is no such key.
    """
    keys, kinds = _ed25519()
    record = Path(model) / SIGNED
    if not record.is_file():
        raise ValueError(f"{model} is not a model folder: {SIGNED} is missing")
    try:
        private = keys.load_pem_private_key(Path(key).read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"key is {os.fspath(key)!r}, expected a private key in PEM without a password") from error
    if not isinstance(private, kinds.Ed25519PrivateKey):
        raise ValueError(f"key is {os.fspath(key)!r}, of another kind, expected an Ed25519 private key")
    with replacing(record.with_name(SIGNATURE)) as file:
        file.write_bytes(private.sign(record.read_bytes()))
    return record.with_name(SIGNATURE)


def refuse_untrusted(model: Path, record: bytes) -> None:
    """Raise NotTrusted where the environment names public keys, and none of them signed the record of a model."""
    named = os.environ.get(TRUSTED)
    if not named:
        return None
    known = public_keys(Path(named))
    from cryptography.exceptions import InvalidSignature

    if not (model / SIGNATURE).is_file():
        raise NotTrusted(f"{model} is not signed: {TRUSTED} asks for a signature by a key in {named}")
    signature = (model / SIGNATURE).read_bytes()
    for key in known:
        try:
            return key.verify(signature, record)
        except InvalidSignature:
            continue
    raise NotTrusted(f"{model} was not signed by a key in {named}, or was changed afterwards")


def public_keys(path: Path) -> list[Any]:
    """Return the Ed25519 public keys in a PEM file; NotTrusted if it holds none, or others."""
    keys, kinds = _ed25519()
    try:
        found = [keys.load_pem_public_key(block) for block in PEM.findall(path.read_bytes())]
    except (OSError, ValueError) as error:
        raise NotTrusted(f"{TRUSTED} is {os.fspath(path)!r}, which cannot be read as public keys: {error}") from error
    if not found or not all(isinstance(key, kinds.Ed25519PublicKey) for key in found):
        raise NotTrusted(f"{TRUSTED} is {os.fspath(path)!r}, expected Ed25519 public keys in PEM and nothing else")
    return found


def _ed25519() -> tuple[Any, Any]:
    """Return what reads keys and their classes."""
    with needing("sign", "a signature"):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    return serialization, ed25519
