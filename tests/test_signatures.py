"""Who vouches for a model folder."""

import json
import shutil

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tiny import normals, tiny
from unlikelihood import load
from unlikelihood.cli.main import main
from unlikelihood.storage.records import seal
from unlikelihood.storage.signatures import SIGNATURE, TRUSTED, NotTrusted, sign

X = normals((6,))


def keys(folder, name, key=None):
    key = key or Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def saved(tmp_path):
    return tiny("KNN").fit(X).save(tmp_path / "model")


def test_only_what_a_trusted_key_signed_is_loaded(tmp_path, saved, monkeypatch):
    (ours, known), (theirs, _) = keys(tmp_path, "ours"), keys(tmp_path, "theirs")
    monkeypatch.setenv(TRUSTED, str(known))
    with pytest.raises(NotTrusted, match="is not signed"):
        load(saved)
    sign(saved, theirs)
    with pytest.raises(NotTrusted, match="not signed by a key"):
        load(saved)
    assert main(["sign", str(saved), "--key", str(ours)]) == 0
    assert load(saved).score_samples(X).tolist() == tiny("KNN").fit(X).score_samples(X).tolist()


def test_any_of_several_keys_will_do(tmp_path, saved, monkeypatch):
    (_, first), (private, second) = keys(tmp_path, "first"), keys(tmp_path, "second")
    (tmp_path / "known.pem").write_bytes(first.read_bytes() + b"\n" + second.read_bytes())
    monkeypatch.setenv(TRUSTED, str(tmp_path / "known.pem"))
    sign(saved, private)
    np.testing.assert_array_equal(load(saved).score_samples(X), tiny("KNN").fit(X).score_samples(X))


def test_a_signature_covers_record_and_weights(tmp_path, saved, monkeypatch):
    private, known = keys(tmp_path, "ours")
    sign(saved, private)
    monkeypatch.setenv(TRUSTED, str(known))
    other = tiny("KNN").fit(X + 1).save(tmp_path / "other")
    forged = shutil.copytree(saved, tmp_path / "forged")
    shutil.copy(other / "weights.safetensors", forged)
    record = json.loads((saved / "detector.json").read_text())
    weights = json.loads((other / "detector.json").read_text())["weights"]
    (forged / "detector.json").write_text(json.dumps(seal(record | {"weights": weights})))
    with pytest.raises(NotTrusted, match="changed afterwards"):
        load(forged)
    monkeypatch.delenv(TRUSTED)
    load(forged)  # its checksums fit


def test_saving_again_takes_the_signature_away(tmp_path, saved):
    sign(saved, keys(tmp_path, "ours")[0])
    tiny("KNN").fit(X).save(saved)
    assert not (saved / SIGNATURE).exists()


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_file_without_keys_trusts_nothing(tmp_path, saved, monkeypatch, content):
    (tmp_path / "keys.pem").write_bytes(content)
    for name in ("keys.pem", "gone.pem"):
        monkeypatch.setenv(TRUSTED, str(tmp_path / name))
        with pytest.raises(NotTrusted, match=TRUSTED):
            load(saved)


def test_a_key_of_another_kind_neither_signs_nor_is_trusted(tmp_path, saved, monkeypatch):
    private, public = keys(tmp_path, "curve", generate_private_key(SECP256R1()))
    with pytest.raises(ValueError, match="expected an Ed25519 private key"):
        sign(saved, private)
    with pytest.raises(ValueError, match="expected a private key in PEM"):
        sign(saved, public)
    monkeypatch.setenv(TRUSTED, str(public))
    with pytest.raises(NotTrusted, match="expected Ed25519 public keys"):
        load(saved)
    assert not (saved / SIGNATURE).exists()
