"""Key pairs, the files they lie in, and the ring that opens vaults with them."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from dav_provider import errors as dav_errors
from http_api import errors as http_errors
from jobs import outage
from tests.rooms.core.key_pairs_made import pair, plain_pem
from vfs.crypto import base64url, key_files, key_pairs, key_ring
from vfs.crypto.key_files import Found
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import AlreadyExists, ConfigurationError, ContentCorrupt, InvalidRequest, KeyMissing
from vfs.settings import Settings
from vfs.vault_model import ClosedVault, WrappedKey

PASSPHRASE = "correct horse é 말"
NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)


def small_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


# --- pairs ---


def test_an_id_is_that_of_the_format() -> None:
    der = pair("a").key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    assert pair("a").id == hashlib.sha256(der).digest()[:16].hex()
    assert pair("a").public.bits == 3072


@pytest.mark.parametrize("bits", [0, 1024, 2048, 3071, 3073, 100_000])
def test_keys_of_other_sizes_are_not_made(bits: int) -> None:
    with pytest.raises(InvalidRequest, match="3072"):
        key_pairs.generate(bits)


def test_more_bits_are_fine() -> None:
    key = key_pairs.generate(4096)
    vault_id = os.urandom(16)
    assert key_pairs.unwrap(key, vault_id, key_pairs.wrap_for(key.public, vault_id, b"s" * 32)) == b"s" * 32


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_private_key_is_written_and_read(passphrase: str | None) -> None:
    pem = key_pairs.write_private(pair("a"), passphrase)
    assert key_pairs.read_private(pem, passphrase) == (pair("a"),)
    assert (b"ENCRYPTED" in pem) is (passphrase is not None)
    if passphrase is None:  # a passphrase too many does no harm
        assert key_pairs.read_private(pem, "whatever")[0].id == pair("a").id


def test_a_passphrase_is_the_same_however_it_is_composed() -> None:
    pem = key_pairs.write_private(pair("a"), "caf\u00e9 caf\u00e9")
    assert key_pairs.read_private(pem, "cafe\u0301 cafe\u0301")[0].id == pair("a").id


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_reads_what_is_locked(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(key_pairs.write_private(pair("a"), "correct horse"))
    arguments = ["openssl", "pkey", "-in", "key.pem", "-passin", "pass:correct horse", "-pubout"]
    shown = subprocess.run(arguments, cwd=tmp_path, capture_output=True, check=True).stdout
    assert shown.decode() == pair("a").public.pem
    parsed = subprocess.run(["openssl", "asn1parse", "-in", "key.pem"], cwd=tmp_path, capture_output=True, check=True)
    assert b"scrypt" in parsed.stdout and b"aes-256-cbc" in parsed.stdout


def test_what_is_no_key_for_vaults_is_refused_and_never_shown() -> None:
    locked = key_pairs.write_private(pair("a"), PASSPHRASE)
    small = small_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    other_kind = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    plain = plain_pem("a")
    for pem, passphrase, reason in (
        (locked, None, "locked by a passphrase"),
        (locked, "", "locked by a passphrase"),
        (locked, "wrong secret words", "passphrase is wrong"),
        (small, None, "2048 bits"),
        (other_kind, None, "not an RSA key"),
        (
            plain[:500] + (b"y" if plain[500:501] == b"x" else b"x") + plain[501:],
            None,
            "not a private key|no private key",
        ),
        (pair("a").public.pem.encode(), None, "no private key"),
        (b"", None, "no private key"),
    ):
        with pytest.raises(InvalidRequest, match=reason) as caught:
            key_pairs.read_private(pem, passphrase)
        assert "secret words" not in str(caught.value) and caught.value.__cause__ is None
    with pytest.raises(InvalidRequest, match="at least"):
        key_pairs.write_private(pair("a"), "short")


def test_public_keys_are_read_and_private_ones_sent_back() -> None:
    assert key_pairs.read_public(pair("a").public.pem.encode()) == pair("a").public
    small = small_key().public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    for pem, reason in ((plain_pem("a"), "private"), (small, "2048"), (b"nonsense", "not a public key")):
        with pytest.raises(InvalidRequest, match=reason):
            key_pairs.read_public(pem)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32), st.integers(0, 384 * 8 - 1))
def test_a_wrapped_key_opens_for_its_vault_and_key_alone(vault_id: bytes, secret: bytes, bit: int) -> None:
    wrapped = key_pairs.wrap_for(pair("a").public, vault_id, secret)
    assert key_pairs.unwrap(pair("a"), vault_id, wrapped) == secret
    flipped = bytearray(wrapped)
    flipped[bit // 8] ^= 1 << bit % 8
    elsewhere = bytes([vault_id[0] ^ 1]) + vault_id[1:]
    for private, of, sealed in (
        (pair("a"), vault_id, bytes(flipped)),
        (pair("a"), elsewhere, wrapped),
        (pair("b"), vault_id, wrapped),
        (pair("a"), vault_id, wrapped[:-1]),
    ):
        with pytest.raises(ContentCorrupt):
            key_pairs.unwrap(private, of, sealed)


def test_every_face_says_that_a_key_is_missing() -> None:
    error = KeyMissing("vault v is closed", "v", ("k1", "k2"))
    rest = http_errors.refusal(error, "trace", "en")
    shown = rest.body.model_dump(by_alias=True)
    assert rest.status == 503 and ("Retry-After", "60") in rest.headers
    assert (shown["error"], shown["vaultId"], shown["keyIds"]) == ("VAULT_KEY_MISSING", "v", ["k1", "k2"])
    assert "key" in shown["message"] and http_errors.refusal(error, "trace", "ko").body.message != shown["message"]
    assert dav_errors.status_of(error) == 503
    assert outage.is_outage(error) and not outage.is_entry_fault(error)


# --- where they come from ---


def settings_of(data: Path, **more: object) -> Settings:
    return Settings.load(None, {}, data=data, **more)


def ids(found: Found) -> list[str]:
    return [key.id for key in found.keys]


def test_sources_of_keys(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert key_files.find(settings) == Found()
    key_files.write_new(key_files.server_file(settings), plain_pem("a"))
    assert key_files.server_file(settings) == tmp_path / "keys" / "server.pem"
    assert ids(key_files.find(settings)) == [pair("a").id]
    both = (plain_pem("b") + plain_pem("a")).decode()
    for text in (both, both.replace("\n", "\\n")):
        assert ids(key_files.find(settings_of(tmp_path, vault_key=text))) == [pair("b").id, pair("a").id]
    elsewhere = settings_of(tmp_path / "x", vault_key_file=str(tmp_path / "keys" / "server.pem"))
    assert ids(key_files.find(elsewhere)) == [pair("a").id]


def test_a_locked_key_needs_its_passphrase(tmp_path: Path) -> None:
    key_files.write_new(tmp_path / "keys" / "server.pem", key_pairs.write_private(pair("a"), PASSPHRASE))
    (tmp_path / "words").write_text(PASSPHRASE + "\nsecond line\n")
    (tmp_path / "none").write_text("\n")
    assert ids(key_files.find(settings_of(tmp_path, vault_passphrase=PASSPHRASE))) == [pair("a").id]
    assert ids(key_files.find(settings_of(tmp_path, vault_passphrase_file=str(tmp_path / "words")))) == [pair("a").id]
    for more, reason in (
        ({}, "server.pem: the private key is locked"),
        ({"vault_passphrase": "quite another"}, "server.pem: the passphrase is wrong"),
        ({"vault_passphrase_file": str(tmp_path / "none")}, "no passphrase in"),
        ({"vault_passphrase_file": str(tmp_path / "missing")}, "cannot read"),
        ({"vault_key_file": str(tmp_path / "missing.pem")}, "cannot read"),
        ({"vault_key": "nonsense"}, "vault.key: no private key"),
    ):
        found = key_files.find(settings_of(tmp_path, **more))
        assert found.keys == () and len(found.faults) == 1 and reason in found.faults[0], more
        assert "quite another" not in found.faults[0] and "nonsense" not in found.faults[0]


def test_files_are_their_owners_and_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "server.pem"
    key_files.write_new(file, plain_pem("a"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with pytest.raises(AlreadyExists):
        key_files.write_new(file, plain_pem("b"))
    assert file.read_bytes() == plain_pem("a") and os.listdir(file.parent) == ["server.pem"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot write"):
        key_files.write_new(tmp_path / "file" / "server.pem", plain_pem("a"))


def test_what_a_key_replaces_is_kept_and_still_counts(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "server.pem"
    key_files.write_new(file, plain_pem("a"))
    first = key_files.replace(file, plain_pem("b"), NOW)
    second = key_files.replace(file, plain_pem("c"), NOW)  # within the same second
    assert first.name == "server-20261122T031500Z.pem" and first != second
    assert {stat.S_IMODE(each.stat().st_mode) for each in file.parent.iterdir()} == {0o600}
    assert len(os.listdir(file.parent)) == 3
    found = ids(key_files.find(settings_of(tmp_path)))
    assert found[0] == pair("c").id and set(found) == {pair(name).id for name in "abc"}


# --- the ring ---


def closed(key: VaultKey, *names: str, version: int = 1) -> ClosedVault:
    wrapped = (
        WrappedKey(
            pair(name).id, base64url.encode(key_pairs.wrap_for(pair(name).public, key.vault_id, key.secret))
        )
        for name in names
    )  # fmt: skip
    return ClosedVault(1, str(uuid.UUID(bytes=key.vault_id)), key.generation, version, tuple(wrapped))


def test_a_ring_opens_what_is_wrapped_for_one_of_its_keys() -> None:
    looks: list[int] = []

    def find() -> Found:
        looks.append(1)
        return Found((pair("a"), pair("b")))

    ring, key = KeyRing(find), VaultKey.generate()
    assert looks == []
    assert ring.open(closed(key, "b", "c")) == key
    assert ring.open(closed(key, "b", "c")) is ring.open(closed(key, "b", "c"))
    assert looks == [1]
    assert key.secret.hex() not in repr(ring) and str(key.secret) not in repr(ring)


def test_a_missing_key_is_told_and_found_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[Found] = [Found()]
    ring, key = KeyRing(lambda: there[-1]), VaultKey.generate()
    with pytest.raises(KeyMissing) as caught:
        ring.open(closed(key, "a", "b"))
    assert caught.value.key_ids == (pair("a").id, pair("b").id)
    assert caught.value.vault == str(uuid.UUID(bytes=key.vault_id)) and pair("a").id in str(caught.value)
    there.append(Found((pair("b"),)))
    monkeypatch.setattr(key_ring, "_AGAIN", 0.0)
    assert ring.open(closed(key, "a", "b")) == key


def test_what_was_opened_is_forgotten_when_the_recipients_change() -> None:
    ring, key = KeyRing(lambda: Found((pair("a"),))), VaultKey.generate()
    assert ring.open(closed(key, "a", version=1)) == key
    with pytest.raises(KeyMissing):
        ring.open(closed(key, "b", version=2))


def test_a_damaged_wrap_is_told_as_damage_unless_another_opens(caplog: pytest.LogCaptureFixture) -> None:
    ring, key = KeyRing(lambda: Found((pair("a"), pair("b")))), VaultKey.generate()
    whole = closed(key, "a", "b")
    bad = WrappedKey(pair("a").id, whole.wrapped[1].wrapped)
    assert ring.open(ClosedVault(1, whole.uuid, 1, 1, (bad, whole.wrapped[1]))) == key
    assert pair("a").id in caplog.text
    for wrapped in (bad, WrappedKey(pair("a").id, "=?")):
        with pytest.raises(ContentCorrupt):
            ring.open(ClosedVault(1, whole.uuid, 1, 2, (wrapped,)))


def test_a_ring_remembers_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "_MOST", 2)
    ring = KeyRing(lambda: Found((pair("a"),)))
    keys = [VaultKey.generate() for _ in range(3)]
    first = ring.open(closed(keys[0], "a"))
    for key in keys[1:]:
        ring.open(closed(key, "a"))
    assert ring.open(closed(keys[0], "a")) == first and ring.open(closed(keys[0], "a")) is not first


def test_what_cannot_be_read_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    ring = KeyRing(lambda: Found((), ("x.pem: the passphrase is wrong",)))
    assert ring.ids() == () == ring.ids()
    assert caplog.text.count("x.pem") == 1 and ring.faults() == ("x.pem: the passphrase is wrong",)
