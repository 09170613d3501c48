"""The test vectors, and whole vaults as on the NAS, by the product and by a reader that shares nothing with it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rooms.crypto import independent_reader
from tests.rooms.crypto.independent_reader import Damaged, Keys, read_vault
from vfs.crypto import frames, heads, manifests, part_lists, sealed_names, sealed_texts, vault_files
from vfs.crypto.parts import PartKey, open_buffer
from vfs.crypto.sealed_texts import Text
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt

VECTORS = Path(__file__).parents[2] / "vectors"
FOLDER = VECTORS / "vault-1"
SHOWN: dict[str, Any] = json.loads((VECTORS / "vault-1.json").read_text(encoding="utf-8"))
KEY = VaultKey(bytes.fromhex(SHOWN["vault_id"]), SHOWN["generation"], bytes.fromhex(SHOWN["vault_key"]))
KEYS = Keys(KEY.vault_id, KEY.generation, KEY.secret)
OLDER = {
    each["generation"]: Keys(KEY.vault_id, each["generation"], bytes.fromhex(each["key"]))
    for each in SHOWN["older_keys"]
}
ALL_KEYS = {KEY.generation: KEYS} | OLDER


@cache
def private_key() -> RSAPrivateKey:
    """Its own file; parsing it checks it, which takes longer than all else here."""
    key = load_pem_private_key(SHOWN["private_key"].encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def entries(found: independent_reader.Recovered) -> dict[str, str | None]:
    """As the vectors have them."""
    files = {path: hashlib.sha256(plain).hexdigest() for path, plain in found.files.items()}
    return files | dict.fromkeys(found.folders)


# --- vectors --------------------------------------------------------------------------------------


def test_purpose_keys() -> None:
    for purpose, key in SHOWN["purpose_keys"].items():
        assert independent_reader.purpose_key(KEY.secret, KEY.vault_id, purpose).hex() == key
    assert KEY.vault_file.hex() == SHOWN["purpose_keys"]["vault.json"]


@pytest.mark.parametrize("each", SHOWN["names"], ids=lambda each: ascii(each["name"])[:20])
def test_names(each: dict[str, str]) -> None:
    parent = bytes.fromhex(each["parent"])
    assert sealed_names.seal_name(KEY, parent, each["name"]) == each["sealed"]
    assert sealed_names.open_name(KEY, parent, each["sealed"]) == each["name"]
    assert sealed_names.seal_key(KEY, parent, each["compared"]) == each["key"]
    assert KEYS.name(parent, each["sealed"]) == each["name"]
    opened = KEYS.open("names", independent_reader.from_base64url(each["key"]), [b"key", parent])
    assert opened.decode() == each["compared"]


@pytest.mark.parametrize("each", SHOWN["texts"], ids=lambda each: each["purpose"])
def test_texts(each: dict[str, str]) -> None:
    seal_id = bytes.fromhex(each["seal_id"])
    assert sealed_texts.open_text(KEY, Text(each["purpose"]), seal_id, each["sealed"]) == each["text"]
    assert KEYS.text(each["purpose"], seal_id, each["sealed"]) == each["text"]


def test_every_purpose_has_a_vector() -> None:
    assert {each["purpose"] for each in SHOWN["texts"]} == set(Text)


def test_wrapped_keys() -> None:
    for each in SHOWN["content_keys"]:
        content, key, wrapped = (bytes.fromhex(each[field]) for field in ("content_id", "key", "wrapped"))
        assert KEY.wrap_content_key(content, key) == wrapped
        assert KEY.unwrap_content_key(content, wrapped) == KEYS.content_key(content, wrapped) == key
    for each in SHOWN["older_keys"]:
        older = KEY.unwrap_older(each["generation"], bytes.fromhex(each["wrapped"]))
        assert older.secret.hex() == each["key"]
        assert KEY.wrap_older(older).hex() == each["wrapped"]


@pytest.mark.parametrize("each", SHOWN["parts"], ids=lambda each: str(each["plain_length"]))
def test_parts(each: dict[str, Any]) -> None:
    key, length = PartKey(bytes.fromhex(each["id"]), bytes.fromhex(each["key"])), each["plain_length"]
    sealed = (FOLDER / each["file"]).read_bytes()
    assert key.name == each["name"] == Path(each["file"]).name
    assert len(sealed) == frames.sealed_length(length)
    assert hashlib.sha256(sealed).hexdigest() == each["sealed"]
    plain = bytes(open_buffer(key, length, sealed))
    assert hashlib.sha256(plain).hexdigest() == each["plain"]
    assert independent_reader.open_part(key.id, key.secret, length, sealed) == plain
    again = b""
    for number, frame in enumerate(each["frames"]):
        piece = plain[number * frames.FRAME_SIZE : (number + 1) * frames.FRAME_SIZE]
        again += AESGCM(key.secret).encrypt(
            bytes.fromhex(frame["nonce"]), piece, bytes.fromhex(frame["associated_data"])
        )
        assert again[-16:].hex() == frame["tag"]
    assert again == sealed
    pieces = frames.cut(memoryview(plain), frames.FRAME_SIZE)
    assert frames.seal_run(AESGCM(key.secret), key.id, 0, pieces, ends=True) == sealed


def test_part_lists() -> None:
    for each in SHOWN["part_lists"]:
        content, key, sealed = (bytes.fromhex(each[field]) for field in ("content_id", "key", "sealed"))
        parts = part_lists.open_parts(content, key, sealed)
        pieces = independent_reader.parse_list(bytes.fromhex(each["plain"]))
        assert parts.length == each["length"]
        assert pieces == independent_reader.open_list(content, key, sealed)
        assert [
            (part.part.id, part.part.secret, part.part_length, part.offset, part.length) for part in parts.slices
        ] == [(piece.id, piece.key, piece.part_length, piece.offset, piece.length) for piece in pieces]


def test_manifests() -> None:
    for each in SHOWN["manifests"]:
        data = bytes.fromhex(each["sealed"])
        assert data == (FOLDER / each["file"]).read_bytes()
        assert manifests.digest(data).hex() == each["digest"]
        generation = int.from_bytes(data[24:28], "big")
        key = VaultKey(KEY.vault_id, generation, ALL_KEYS[generation].secret)
        opened, other = manifests.open_manifest(key, data), independent_reader.open_manifest(ALL_KEYS, data)
        assert manifests.seal_manifest(key, opened) == data
        assert (opened.kind, opened.seal_id, opened.sequence, opened.mtime_ns) == (
            other.kind,
            other.seal_id,
            other.sequence,
            other.mtime_ns,
        )
        assert sealed_names.open_name(key, opened.parent_seal_id, opened.sealed_name) == other.name
        if "body" in each:
            assert KEYS.open("manifests", data[61:], [b"manifest", data[:61]]).hex() == each["body"]


def test_the_vault_of_the_vectors() -> None:
    data = (FOLDER / "vault.json").read_bytes()
    file = vault_files.verify(KEY, data)
    assert file.root_seal_id.hex() == SHOWN["root_seal_id"]
    assert vault_files.encode(KEY, file) == data
    found = read_vault(private_key(), FOLDER)
    assert found.faults == []
    assert entries(found) == SHOWN["entries"]
    assert found.head == heads.head(KEY.vault_id, found.digests) == SHOWN["head"]


@pytest.mark.parametrize("each", SHOWN["refused"], ids=lambda each: f"{each['what']}: {each['why']}")
def test_what_must_be_refused(each: dict[str, Any]) -> None:
    product, independent = refusals(each)
    with pytest.raises(ContentCorrupt):
        product()
    with pytest.raises(Damaged):
        independent()


def refusals(each: dict[str, Any]) -> tuple[Callable[[], object], Callable[[], object]]:
    """What opens it, by the product and by the other reader."""

    def field(name: str) -> bytes:
        return bytes.fromhex(each[name])

    match each["what"]:
        case "name":
            parent, sealed = field("parent"), each["sealed"]
            return lambda: sealed_names.open_name(KEY, parent, sealed), lambda: KEYS.name(parent, sealed)
        case "text":
            seal_id, purpose, sealed = field("seal_id"), each["purpose"], each["sealed"]
            return (
                lambda: sealed_texts.open_text(KEY, Text(purpose), seal_id, sealed),
                lambda: KEYS.text(purpose, seal_id, sealed),
            )
        case "content_key":
            content, wrapped = field("content_id"), field("wrapped")
            return lambda: KEY.unwrap_content_key(content, wrapped), lambda: KEYS.content_key(content, wrapped)
        case "part_list":
            content, key, data = field("content_id"), field("key"), field("sealed")
            return (
                lambda: part_lists.open_parts(content, key, data),
                lambda: independent_reader.open_list(content, key, data),
            )
        case "manifest":
            data = field("sealed")
            return (
                lambda: manifests.open_manifest(KEY, data),
                lambda: independent_reader.open_manifest(ALL_KEYS, data),
            )
        case "vault_json":
            data = each["text"].encode()
            return (
                lambda: vault_files.verify(KEY, data),
                lambda: independent_reader.open_vault_json(private_key(), data),
            )
    raise AssertionError(each["what"])


# --- the other reader -----------------------------------------------------------------------------


def test_the_other_reader_has_nothing_of_the_product(tmp_path: Path) -> None:
    """It runs alone, as a program, and restores the vault."""
    key_file, out = tmp_path / "key.pem", tmp_path / "out"
    key_file.write_text(SHOWN["private_key"], encoding="utf-8")
    reader = Path(independent_reader.__file__)
    done = subprocess.run(
        [sys.executable, "-I", reader, key_file, FOLDER, out], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert SHOWN["head"] in done.stdout
    restored = {str(file.relative_to(out)): file for file in out.rglob("*")}
    assert restored.keys() == SHOWN["entries"].keys()
    assert {
        path: None if file.is_dir() else hashlib.sha256(file.read_bytes()).hexdigest()
        for path, file in restored.items()
    } == SHOWN["entries"]
    assert "vfs" not in reader.read_text(encoding="utf-8")


@settings(deadline=None)
@given(st.binary(max_size=100), st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3))
def test_its_own_siv_is_the_library_s(plain: bytes, bound: list[bytes]) -> None:
    key = bytes.fromhex(SHOWN["purpose_keys"]["names"])
    assert independent_reader.siv_open(key, KEY.names.encrypt(plain, bound), bound) == plain


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_byte_changed_in_any_file_is_found_and_named(data: st.DataObject) -> None:
    """All else is whole, and nothing wrong is given out."""
    file = data.draw(st.sampled_from(sorted(file for file in FOLDER.rglob("*") if file.is_file())))
    before = file.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    changed = bytearray(before)
    changed[at] ^= data.draw(st.integers(1, 255))
    other = Overlaid.of(file, bytes(changed))
    try:
        found = read_vault(private_key(), other)
    except Damaged as error:
        assert file.name == "vault.json" and "vault.json" in str(error)
        return
    shown = {path: hashlib.sha256(plain).hexdigest() for path, plain in found.files.items()} | dict.fromkeys(
        found.folders
    )
    if re.fullmatch("[a-z2-7]{26}", file.parent.name):  # of a folder: what is in it is found under another path
        assert sorted(filter(None, shown.values())) == sorted(filter(None, SHOWN["entries"].values()))
    else:
        assert shown.items() <= SHOWN["entries"].items()
    if file.name == "vault.json":  # a space for another; a name for another is refused above
        assert shown == SHOWN["entries"]
    else:
        assert [place for place, _ in found.faults] == [str(file.parent.relative_to(FOLDER))]


class Overlaid(type(Path())):  # type: ignore[misc]
    """A folder of which one file has other bytes; nothing is written."""

    _changed: tuple[str, bytes] = ("", b"")

    @classmethod
    def of(cls, file: Path, data: bytes) -> Path:
        named = type("Overlaid", (cls,), {"_changed": (str(file), data)})
        return named(str(FOLDER))

    def read_bytes(self) -> bytes:
        return self._changed[1] if str(self) == self._changed[0] else super().read_bytes()
