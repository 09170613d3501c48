"""Part lists, manifests, vault.json and heads: one form each, and every change of them is found."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from vfs.crypto import heads, part_lists, vault_files, vault_keys
from vfs.crypto.manifests import Manifest, ManifestKind, SealedContent, digest, open_manifest, seal_manifest
from vfs.crypto.part_lists import PartList, Slice, open_parts, seal_parts
from vfs.crypto.parts import NewPart, PartKey
from vfs.crypto.sealed_names import seal_name
from vfs.crypto.vault_files import OlderKey, Recipient, VaultFile
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt, TooLarge
from vfs.vault_model import RecipientRole

KEY, OTHER = VaultKey.generate(), VaultKey.generate()
CONTENT, CONTENT_KEY = vault_keys.new_id(), vault_keys.new_content_key()
PARTS = [(NewPart().key, length) for length in (1, 100, 65_536, 8 * 1024 * 1024)]
PART = Slice.whole(*PARTS[1])


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    part, length = draw(st.sampled_from(PARTS))
    offset = draw(st.integers(0, length - 1))
    return Slice(part, length, offset, draw(st.integers(1, length - offset)))


part_list = st.lists(slices(), max_size=12).map(lambda made: PartList(tuple(made)))


def flips(data: bytes) -> list[bytes]:
    """Each with one other bit."""
    made = []
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        made.append(bytes(changed))
    return made


# --- part lists -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(part_list, st.data())
def test_lists_come_back_and_give_ranges(parts: PartList, data: st.DataObject) -> None:
    sealed = seal_parts(CONTENT, CONTENT_KEY, parts)
    assert open_parts(CONTENT, CONTENT_KEY, sealed) == parts
    assert sealed != seal_parts(CONTENT, CONTENT_KEY, parts)
    start = data.draw(st.integers(0, parts.length + 1))
    end = data.draw(st.integers(start, parts.length + 1))
    at = 0
    expected = []
    for piece in parts.slices:  # slowly
        low, high = max(start, at), min(end, at + piece.length)
        if low < high:
            expected.append((piece, piece.offset + low - at, piece.offset + high - at))
        at += piece.length
    assert list(parts.ranges(start, end)) == expected


def test_every_change_of_a_list_is_found() -> None:
    sealed = seal_parts(CONTENT, CONTENT_KEY, PartList((PART, Slice.whole(*PARTS[0]), PART)))
    wrong = [*flips(sealed), b"", sealed[:-1], sealed + b"x", sealed[12:], sealed[:12], sealed * 2]
    for changed in wrong:
        with pytest.raises(ContentCorrupt, match=f"part list of {CONTENT.hex()}"):
            open_parts(CONTENT, CONTENT_KEY, changed)
    for content, key in ((vault_keys.new_id(), CONTENT_KEY), (CONTENT, vault_keys.new_content_key())):
        with pytest.raises(ContentCorrupt):
            open_parts(content, key, sealed)


def sealed_as(plain: bytes) -> bytes:
    return bytes(12) + AESGCM(CONTENT_KEY).encrypt(bytes(12), plain, b"kelp parts 1" + CONTENT)


def list_of(parts: list[tuple[bytes, bytes, int]], pieces: list[tuple[int, int, int]], length: int) -> bytes:
    head = struct.pack(">4sIIQ", b"KPL1", len(parts), len(pieces), length)
    listed = b"".join(struct.pack(">16s32sI", *part) for part in parts)
    return head + listed + b"".join(struct.pack(">III", *piece) for piece in pieces)


A, B = (bytes([65]) * 16, bytes(32), 10), (bytes([66]) * 16, bytes(32), 10)


@pytest.mark.parametrize(
    ("parts", "pieces", "length"),
    [
        ([A], [(0, 0, 10)], 9),  # another length
        ([A], [(0, 0, 10)], 2**64 - 1),
        ([A], [], 0),  # a part that nothing uses
        ([A, B], [(0, 0, 10), (0, 0, 10)], 20),
        ([A, B], [(1, 0, 10), (0, 0, 10)], 20),  # not in the order of their first use
        ([A, A], [(0, 0, 10), (1, 0, 10)], 20),  # one part twice
        ([A], [(0, 0, 10), (1, 0, 10)], 20),  # no such part
        ([A], [(0, 0, 0)], 0),  # nothing of a part
        ([A], [(0, 1, 10)], 10),  # more than a part
        ([A], [(0, 2**32 - 1, 2**32 - 1)], 2**32 - 1),
        ([(A[0], A[1], 0)], [(0, 0, 0)], 0),
        ([(A[0], A[1], 8 * 1024 * 1024 + 1)], [(0, 0, 1)], 1),
    ],
)
def test_lists_that_contradict_themselves_are_refused_though_sealed_well(
    parts: list[tuple[bytes, bytes, int]], pieces: list[tuple[int, int, int]], length: int
) -> None:
    assert open_parts(CONTENT, CONTENT_KEY, sealed_as(list_of([A], [(0, 3, 4)], 4))).length == 4
    with pytest.raises(ContentCorrupt, match="sealed well, but wrong"):
        open_parts(CONTENT, CONTENT_KEY, sealed_as(list_of(parts, pieces, length)))


def test_lists_whose_counts_lie_are_refused() -> None:
    good = list_of([A], [(0, 0, 10)], 10)
    wrong = [
        good + b"x",
        good[:-1],
        b"KPL2" + good[4:],
        good[:4] + struct.pack(">II", 2**32 - 1, 2**32 - 1) + good[12:],
    ]
    for plain in wrong:
        with pytest.raises(ContentCorrupt, match="sealed well, but wrong"):
            open_parts(CONTENT, CONTENT_KEY, sealed_as(plain))


def test_what_cannot_be_in_a_list_is_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    part = PARTS[1][0]
    for other in (Slice(PartKey(part.id, bytes(32)), 100, 0, 100), Slice(part, 99, 0, 99)):
        with pytest.raises(ValueError, match="two keys or lengths"):
            seal_parts(CONTENT, CONTENT_KEY, PartList((PART, other)))
    for length, offset, size in ((0, 0, 0), (10, 0, 0), (10, -1, 5), (10, 6, 5), (8 * 1024 * 1024 + 1, 0, 1)):
        with pytest.raises(ValueError):
            Slice(part, length, offset, size)
    monkeypatch.setattr(part_lists, "MAX_SLICES", 2)
    with pytest.raises(TooLarge):
        seal_parts(CONTENT, CONTENT_KEY, PartList((PART,) * 3))


def test_a_list_of_a_tebibyte() -> None:
    """131,072 parts; the holes of a file of 4 TiB are one part, again and again."""
    generator = random.Random(1)
    full = 8 * 1024 * 1024
    parts = PartList(
        tuple(Slice(PartKey(generator.randbytes(16), generator.randbytes(32)), full, 0, full) for _ in range(131_072))
    )
    sealed = seal_parts(CONTENT, CONTENT_KEY, parts)
    opened = open_parts(CONTENT, CONTENT_KEY, sealed)
    assert opened == parts and opened.length == 2**40
    assert len(sealed) == 12 + 20 + 131_072 * 64 + 16
    assert [piece for piece, _, _ in opened.ranges(2**39 - 1, 2**39 + 1)] == list(parts.slices[65_535:65_537])
    assert len(seal_parts(CONTENT, CONTENT_KEY, PartList((parts.slices[0],) * 524_288))) < 7 * 1024 * 1024


# --- manifests ------------------------------------------------------------------------------------


def manifest(kind: ManifestKind = ManifestKind.FILE, **changed: Any) -> Manifest:
    parent = changed.get("parent_seal_id", vault_keys.new_id())
    content = SealedContent(CONTENT, KEY.wrap_content_key(CONTENT, CONTENT_KEY), 300, bytes(32))
    values: dict[str, Any] = {
        "vault_id": KEY.vault_id,
        "generation": 1,
        "kind": kind,
        "seal_id": vault_keys.new_id(),
        "parent_seal_id": parent,
        "sequence": 5,
        "mtime_ns": -1,
        "sealed_name": seal_name(KEY, parent, "x"),
        "sealed_type": "",
        "content": None if kind == ManifestKind.FOLDER else content,
    }
    return Manifest(**values | changed)


@settings(deadline=None)
@given(
    st.sampled_from(ManifestKind),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.text("azAZ09-_", min_size=1, max_size=362),
    st.text("azAZ09-_", max_size=1024) | st.just("t" * 65_535),
)
def test_manifests_come_back_and_are_the_same_each_time(
    kind: ManifestKind, sequence: int, mtime_ns: int, name: str, mime_type: str
) -> None:
    made = manifest(kind, sequence=sequence, mtime_ns=mtime_ns, sealed_name=name, sealed_type=mime_type)
    data = seal_manifest(KEY, made)
    assert open_manifest(KEY, data) == made
    assert data == seal_manifest(KEY, made)
    assert digest(data) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("kind", [ManifestKind.FOLDER, ManifestKind.FILE])
def test_every_change_of_a_manifest_is_found(kind: ManifestKind) -> None:
    data = seal_manifest(KEY, manifest(kind))
    other = seal_manifest(KEY, manifest(kind))
    for changed in [*flips(data), b"", data[:-1], data + b"x", data[:61], data[:61] + other[61:], data + bytes(2**17)]:
        with pytest.raises(ContentCorrupt, match="manifest"):
            open_manifest(KEY, changed)
    for key in (OTHER, VaultKey(KEY.vault_id, 2, KEY.secret), VaultKey(KEY.vault_id, 1, OTHER.secret)):
        with pytest.raises(ContentCorrupt, match="manifest"):
            open_manifest(key, data)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda body: body + b"x",
        lambda body: body[:-1],
        lambda body: body[:20] + b"\x00" + body[21:],
        lambda body: body[:20] + b"\x02" + body[21:],
        lambda body: body[:16] + b"\xff\xff" + body[18:],
        lambda body: b"\xff" + body[1:],
        lambda body: body[:21] + b"\xff" + body[22:],
        lambda body: body[:8],
    ],
)
def test_manifests_that_contradict_themselves_are_refused_though_sealed_well(wrong: Callable[[bytes], bytes]) -> None:
    data = seal_manifest(KEY, manifest())
    head = data[:61]
    body = KEY.manifests.decrypt(data[61:], [b"manifest", head])
    with pytest.raises(ContentCorrupt, match="manifest"):
        open_manifest(KEY, head + KEY.manifests.encrypt(wrong(body), [b"manifest", head]))
    unknown = head[:28] + b"x" + head[29:]
    with pytest.raises(ContentCorrupt, match="sealed well, but wrong"):
        open_manifest(KEY, unknown + KEY.manifests.encrypt(body, [b"manifest", unknown]))


def test_what_cannot_be_is_no_manifest() -> None:
    same = vault_keys.new_id()
    for changed in (
        {"seal_id": same, "parent_seal_id": same},
        {"seal_id": b"x"},
        {"vault_id": b"x"},
        {"generation": 0},
        {"sequence": -1},
        {"mtime_ns": 2**63},
        {"sealed_name": ""},
        {"sealed_name": "é"},
        {"sealed_name": "n" * 363},
        {"sealed_type": "t" * 65_536},
        {"content": None},
    ):
        with pytest.raises(ValueError):
            manifest(**changed)
    with pytest.raises(ValueError):
        manifest(ManifestKind.FOLDER, content=manifest().content)
    with pytest.raises(ValueError):
        seal_manifest(OTHER, manifest())


# --- vault.json -----------------------------------------------------------------------------------


def recipient(number: int = 1, **changed: Any) -> Recipient:
    values = {"key_id": f"{number:032x}", "role": RecipientRole.ADMIN, "label": "Åsa's key", "wrapped": bytes(384)}
    return Recipient(**values | changed)


def vault_file(**changed: Any) -> VaultFile:
    key = VaultKey(KEY.vault_id, 3, KEY.secret)
    older = OlderKey(2, key.wrap_older(VaultKey(KEY.vault_id, 2, OTHER.secret)))
    values = {
        "vault_id": KEY.vault_id,
        "generation": 3,
        "root_seal_id": CONTENT,
        "recipients": (recipient(1), recipient(2, role=RecipientRole.SERVER, label="", wrapped=bytes(512))),
        "older_keys": (older,),
    }
    return VaultFile(**values | changed)


THIRD = VaultKey(KEY.vault_id, 3, KEY.secret)


def test_a_vault_file_comes_back_however_it_is_laid_out() -> None:
    file = vault_file()
    data = vault_files.encode(THIRD, file)
    assert vault_files.verify(THIRD, data) == vault_files.decode(data) == file
    assert vault_files.verify(THIRD, json.dumps(json.loads(data), sort_keys=True).encode()) == file


def test_every_change_of_a_vault_file_is_found() -> None:
    """Or it changes nothing: hardly any bit of JSON is without a meaning."""
    data = vault_files.encode(THIRD, vault_file(recipients=(recipient(),)))
    for changed in [*flips(data), b"", data[:-2], data + b"x", data * 2, bytes(2**20 + 1)]:
        with pytest.raises(ContentCorrupt, match=r"vault\.json"):
            vault_files.verify(THIRD, changed)


def test_fields_of_a_vault_file_are_bound_together() -> None:
    shown = json.loads(vault_files.encode(THIRD, vault_file()))
    other = json.loads(vault_files.encode(THIRD, vault_file(recipients=(recipient(3), recipient(4)))))
    first, second = shown["recipients"]
    wrong = [
        shown | {"recipients": [second, first]},
        shown | {"recipients": [first]},
        shown | {"recipients": []},
        shown | {"recipients": [first, first]},
        shown | {"recipients": [first, second, other["recipients"][0]]},
        shown | {"recipients": other["recipients"]},
        shown | {"recipients": [first | {"role": "recovery"}, second]},
        shown | {"recipients": [first | {"role": "king"}, second]},
        shown | {"recipients": [first | {"label": "x"}, second]},
        shown | {"recipients": [first | {"more": "x"}, second]},
        shown | {"recipients": [first | {"key_id": first["key_id"].replace("0", "A")}, second]},
        shown | {"recipients": [first | {"wrapped": second["wrapped"]}, second]},
        shown | {"recipients": {}},
        shown | {"older_keys": []},
        shown | {"older_keys": [shown["older_keys"][0] | {"generation": 1}]},
        shown | {"older_keys": [shown["older_keys"][0] | {"generation": 3}]},
        shown | {"older_keys": [shown["older_keys"][0] | {"generation": True}]},
        shown | {"older_keys": shown["older_keys"] * 2},
        shown | {"generation": 2, "older_keys": []},
        shown | {"generation": 3.0},
        shown | {"generation": "3"},
        shown | {"root_seal_id": shown["vault_id"]},
        shown | {"root_seal_id": 7},
        shown | {"vault_id": OTHER.vault_id.hex()},
        shown | {"format": "kelp vault 2"},
        shown | {"mac": other["mac"]},
        shown | {"mac": ""},
        shown | {"more": 1},
        {name: value for name, value in shown.items() if name != "older_keys"},
        [shown],
    ]
    for changed in wrong:
        with pytest.raises(ContentCorrupt, match=r"vault\.json"):
            vault_files.verify(THIRD, json.dumps(changed).encode())
    twice = json.dumps(shown)[:-1] + ', "generation": 3}'
    for text in (twice, "[" * 100_000, "null", "NaN", '{"format": "\\ud800"}'):
        with pytest.raises(ContentCorrupt, match=r"vault\.json"):
            vault_files.verify(THIRD, text.encode())
    for key in (OTHER, KEY, VaultKey(KEY.vault_id, 3, OTHER.secret)):
        with pytest.raises(ContentCorrupt, match=r"vault\.json"):
            vault_files.verify(key, json.dumps(shown).encode())


def test_what_cannot_be_is_no_vault_file() -> None:
    for changed in (
        {"key_id": "A" * 32},
        {"key_id": "aa"},
        {"key_id": "g" * 32},
        {"label": "é" * 128},
        {"wrapped": bytes(383)},
        {"wrapped": bytes(2049)},
    ):
        with pytest.raises(ValueError):
            recipient(**changed)
    for changed in (
        {"recipients": ()},
        {"recipients": (recipient(), recipient())},
        {"recipients": tuple(recipient(number) for number in range(257))},
        {"generation": 0, "older_keys": ()},
        {"root_seal_id": b""},
        {"older_keys": (OlderKey(3, bytes(48)),)},
        {"older_keys": (OlderKey(2, bytes(48)), OlderKey(1, bytes(48)))},
    ):
        with pytest.raises(ValueError):
            vault_file(**changed)
    with pytest.raises(ValueError):
        OlderKey(1, bytes(47))
    with pytest.raises(ValueError):
        vault_files.encode(KEY, vault_file())


# --- heads ----------------------------------------------------------------------------------------


def test_a_head_depends_on_each_digest_and_not_on_their_order() -> None:
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(5)]
    known = heads.head(KEY.vault_id, digests)
    assert known == heads.head(KEY.vault_id, iter(reversed(digests)))
    others = [
        heads.head(OTHER.vault_id, digests),
        heads.head(KEY.vault_id, digests[1:]),
        heads.head(KEY.vault_id, [*digests, digests[0]]),
        heads.head(KEY.vault_id, [*digests[1:], bytes(32)]),
        heads.head(KEY.vault_id, []),
    ]
    assert len({known, *others}) == 6
    with pytest.raises(ValueError):
        heads.head(KEY.vault_id, [b"short"])


def test_values_do_not_show_keys() -> None:
    assert CONTENT_KEY.hex() not in repr(manifest())
    assert str(PARTS[0][0].secret) not in repr(PartList((Slice.whole(*PARTS[0]),)))
