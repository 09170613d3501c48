"""A second reader of vaults, from docs/vault-format.md: `cryptography` and the standard library, nothing of Kelp.

    python independent_reader.py PRIVATE_KEY.pem VAULT_FOLDER OUT

AES-SIV is built here from CMAC and CTR (RFC 5297), HKDF from HMAC (RFC 5869), so that not only two callers of one
function agree.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

FRAME = 65_536
LENGTHS = {"names": 64, "texts": 64, "contents": 64, "manifests": 64, "older keys": 64, "vault.json": 32}


class Damaged(Exception):
    """What was read is not what was sealed; says why."""


# --- building blocks ------------------------------------------------------------------------------


def purpose_key(vault_key: bytes, vault_id: bytes, purpose: str) -> bytes:
    mixed = hmac.digest(vault_id, vault_key, "sha256")
    made, block = b"", b""
    while len(made) < LENGTHS[purpose]:
        block = hmac.digest(mixed, block + b"kelp vault 1 " + purpose.encode() + bytes([len(made) // 32 + 1]), "sha256")
        made += block
    return made[: LENGTHS[purpose]]


def siv_open(key: bytes, sealed: bytes, bound: list[bytes]) -> bytes:
    if len(sealed) < 16:
        raise Damaged("too short")
    vector, hidden = sealed[:16], sealed[16:]
    counter = bytearray(vector)
    counter[8] &= 0x7F
    counter[12] &= 0x7F
    plain = Cipher(algorithms.AES(key[32:]), modes.CTR(bytes(counter))).decryptor().update(hidden)
    if not hmac.compare_digest(_s2v(key[:32], [*bound, plain]), vector):
        raise Damaged("does not authenticate")
    return plain


def _s2v(key: bytes, strings: list[bytes]) -> bytes:
    value = _cmac(key, bytes(16))
    for string in strings[:-1]:
        value = _xor(_double(value), _cmac(key, string))
    last = strings[-1]
    if len(last) >= 16:
        return _cmac(key, last[:-16] + _xor(last[-16:], value))
    return _cmac(key, _xor(_double(value), (last + b"\x80").ljust(16, b"\0")))


def _cmac(key: bytes, data: bytes) -> bytes:
    made = CMAC(algorithms.AES(key))
    made.update(data)
    return made.finalize()


def _double(block: bytes) -> bytes:
    number = int.from_bytes(block, "big") << 1
    return ((number & (2**128 - 1)) ^ (0x87 if number >> 128 else 0)).to_bytes(16, "big")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def from_base64url(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise Damaged("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text:
        raise Damaged("base64url in another form")
    return data


def part_name(part_id: bytes) -> str:
    return base64.b32encode(part_id).decode().rstrip("=").lower()


# --- values ---------------------------------------------------------------------------------------


@dataclass
class Keys:
    """Of one generation of a vault's key."""

    vault_id: bytes
    generation: int
    secret: bytes

    def open(self, purpose: str, sealed: bytes, bound: list[bytes]) -> bytes:
        return siv_open(purpose_key(self.secret, self.vault_id, purpose), sealed, bound)

    def name(self, folder: bytes, sealed: str) -> str:
        plain = self.open("names", from_base64url(sealed), [b"name", folder])
        try:
            name = plain.decode()
        except UnicodeDecodeError as error:
            raise Damaged("a name that is no UTF-8") from error
        if not 0 < len(plain) <= 255 or name in (".", "..") or re.search("[/\0-\x1f\x7f-\x9f\ufffe\uffff]", name):
            raise Damaged("a name that is none")
        return name

    def text(self, purpose: str, seal_id: bytes, sealed: str) -> str:
        data = from_base64url(sealed)
        plain = self.open("texts", data[16:], [purpose.encode(), seal_id, data[:16]])
        if plain[:1] != b"\x01":
            raise Damaged("a text that is none")
        try:
            return plain[1:].decode()
        except UnicodeDecodeError as error:
            raise Damaged("a text that is no UTF-8") from error

    def content_key(self, content_id: bytes, wrapped: bytes) -> bytes:
        if len(wrapped) != 48:
            raise Damaged("a wrapped key of another length")
        return self.open("contents", wrapped, [b"content", content_id])


@dataclass
class Manifest:
    generation: int
    kind: str
    seal_id: bytes
    folder: bytes
    sequence: int
    mtime_ns: int
    name: str
    type: str
    content: tuple[bytes, bytes, int, bytes] | None  # id, wrapped key, length, digest of the list


def open_manifest(keys: dict[int, Keys], data: bytes) -> Manifest:
    """`name` and `type` are opened."""
    if not 61 <= len(data) <= 131_072 or data[:8] != b"KELPMAN1":
        raise Damaged("no manifest")
    vault_id, generation, kind, seal_id, folder = struct.unpack(">16sIc16s16s", data[8:61])
    key = keys.get(generation)
    if key is None or key.vault_id != vault_id:
        raise Damaged("a manifest of another vault or generation")
    body = key.open("manifests", data[61:], [b"manifest", data[:61]])
    if len(body) < 21:
        raise Damaged("a manifest that is none")
    sequence, mtime_ns, name_length, type_length, has_content = struct.unpack(">QqHHB", body[:21])
    name, end = body[21 : 21 + name_length], 21 + name_length + type_length
    if has_content > 1 or len(body) != end + 104 * has_content or (kind == b"d") == bool(has_content):
        raise Damaged("a manifest that is none")
    if kind not in (b"d", b"f", b"l", b"v") or seal_id == folder or not 0 < name_length <= 362:
        raise Damaged("a manifest that is none")
    content = struct.unpack(">16s48sQ32s", body[end:]) if has_content else None
    if not (name + body[21 + name_length : end]).isascii() or max(sequence, content[2] if content else 0) >= 2**63:
        raise Damaged("a manifest that is none")
    shown = key.name(folder, name.decode())
    mime_type = key.text("type", seal_id, body[21 + name_length : end].decode()) if type_length else ""
    return Manifest(generation, kind.decode(), seal_id, folder, sequence, mtime_ns, shown, mime_type, content)


@dataclass
class Piece:
    """A slice of a part."""

    id: bytes
    key: bytes
    part_length: int
    offset: int
    length: int


def open_list(content_id: bytes, content_key: bytes, sealed: bytes) -> list[Piece]:
    return parse_list(gcm_open(content_key, sealed[:12], sealed[12:], b"kelp parts 1" + content_id))


def parse_list(plain: bytes) -> list[Piece]:
    if len(plain) < 20:
        raise Damaged("no list")
    mark, parts, slices, length = struct.unpack(">4sIIQ", plain[:20])
    if mark != b"KPL1" or slices > 2**22 or len(plain) != 20 + 52 * parts + 12 * slices:
        raise Damaged("no list")
    known = [struct.unpack(">16s32sI", plain[at : at + 52]) for at in range(20, 20 + 52 * parts, 52)]
    pieces, used = [], 0
    for at in range(20 + 52 * parts, len(plain), 12):
        number, offset, size = struct.unpack(">III", plain[at : at + 12])
        if number > used or number >= parts or not 0 < known[number][2] <= 8_388_608:
            raise Damaged("a list in another order")
        if not size or offset + size > known[number][2]:
            raise Damaged("a slice that is not in its part")
        used = max(used, number + 1)
        pieces.append(Piece(*known[number], offset, size))
    if used != parts or len({part[0] for part in known}) != parts or sum(piece.length for piece in pieces) != length:
        raise Damaged("a list that contradicts itself")
    return pieces


def gcm_open(key: bytes, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
    if len(nonce) < 12 or len(sealed) < 16:
        raise Damaged("too short")
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except InvalidTag as error:
        raise Damaged("does not authenticate") from error


def frame_bound(part_id: bytes, number: int, count: int) -> bytes:
    return b"kelp part 1" + part_id + struct.pack(">QB", number, number == count - 1)


def open_part(part_id: bytes, key: bytes, length: int, sealed: bytes) -> bytes:
    count = -(-length // FRAME)
    if len(sealed) != length + 16 * count:
        raise Damaged(f"part {part_name(part_id)} has another length")
    plain = []
    for number in range(count):
        frame = sealed[number * (FRAME + 16) : (number + 1) * (FRAME + 16)]
        try:
            plain.append(gcm_open(key, number.to_bytes(12, "big"), frame, frame_bound(part_id, number, count)))
        except Damaged as error:
            raise Damaged(f"part {part_name(part_id)}, frame {number}: {error}") from error
    return b"".join(plain)


# --- a vault --------------------------------------------------------------------------------------


def key_id(private_key: RSAPrivateKey) -> str:
    der = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:32]


def open_vault_json(private_key: RSAPrivateKey, data: bytes) -> tuple[bytes, dict[int, Keys]]:
    """The seal id of the top folder, and the keys by generation."""
    try:
        shown = json.loads(data)
        if shown["format"] != "kelp vault 1":
            raise Damaged("another format")
        vault_id, root = bytes.fromhex(shown["vault_id"]), bytes.fromhex(shown["root_seal_id"])
        generation = shown["generation"]
        mine = [each for each in shown["recipients"] if each["key_id"] == key_id(private_key)]
        if not mine:
            raise Damaged("this key is not among the recipients")
        label = b"kelp vault 1" + vault_id
        wrapped = from_base64url(mine[0]["wrapped"])
        secret = private_key.decrypt(wrapped, OAEP(MGF1(SHA256()), SHA256(), label))
        keys = Keys(vault_id, generation, secret)
        mac = hmac.digest(purpose_key(secret, vault_id, "vault.json"), _mac_message(shown), "sha256")
        if not hmac.compare_digest(mac.hex(), shown["mac"]):
            raise Damaged("the MAC is another")
        found = {generation: keys}
        for older in shown["older_keys"]:
            number, sealed = older["generation"], from_base64url(older["wrapped"])
            older_key = keys.open("older keys", sealed, [b"older key", struct.pack(">I", number)])
            found[number] = Keys(vault_id, number, older_key)
        return root, found
    except Damaged as error:
        raise Damaged(f"vault.json: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise Damaged(f"vault.json: {error!r}") from error


def _mac_message(shown: dict) -> bytes:
    values = [shown["format"].encode(), bytes.fromhex(shown["vault_id"]), struct.pack(">I", shown["generation"])]
    values += [bytes.fromhex(shown["root_seal_id"]), struct.pack(">I", len(shown["recipients"]))]
    for each in shown["recipients"]:
        values += [bytes.fromhex(each["key_id"]), each["role"].encode(), each["label"].encode()]
        values.append(from_base64url(each["wrapped"]))
    values.append(struct.pack(">I", len(shown["older_keys"])))
    for each in shown["older_keys"]:
        values += [struct.pack(">I", each["generation"]), from_base64url(each["wrapped"])]
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


@dataclass
class Recovered:
    """Paths are joined by "/". `faults`: where on the NAS, and what is wrong there."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    seal_ids: set[bytes] = field(default_factory=set)
    nameless: list[Path] = field(default_factory=list)
    vault_id: bytes = b""

    @property
    def head(self) -> str:
        known = b"kelp head 1" + self.vault_id + struct.pack(">Q", len(self.digests))
        return hashlib.sha256(known + b"".join(sorted(self.digests))).hexdigest()


def read_vault(private_key: RSAPrivateKey, folder: Path) -> Recovered:
    """Raises Damaged when `vault.json` is; every other fault is in what it returns, beside all that is whole."""
    found = Recovered()
    root, keys = open_vault_json(private_key, (folder / "vault.json").read_bytes())
    found.vault_id = next(iter(keys.values())).vault_id
    found.seal_ids.add(root)
    _walk(found, keys, folder, folder, root, "")
    for place in found.nameless:  # grows meanwhile; last, so that nothing in them takes the place of anything else
        _walk(found, keys, folder, place, None, place.name)
    return found


def _walk(found: Recovered, keys: dict[int, Keys], top: Path, folder: Path, seal_id: bytes | None, path: str) -> None:
    """`seal_id` None: the folder's manifest is damaged, so it is called as on the NAS; what is in it is whole."""
    own = {"vault.json"} if folder == top else {"manifest"}
    for place in _shown(folder, own):
        where = str(place.relative_to(top))
        try:
            if not place.is_dir() or not re.fullmatch(r"(\d{14}__)?[a-z2-7]{26}", place.name):
                raise Damaged("does not belong here")
            data = _read(place / "manifest")
            found.digests.append(hashlib.sha256(data).digest())
            manifest = open_manifest(keys, data)
            _check_place(found, manifest, seal_id)
            target = f"{path}/{manifest.name}".lstrip("/")
            if target in found.files or target in found.folders:
                raise Damaged(f"a second {target!r}")
            if manifest.type:
                found.types[target] = manifest.type
            if manifest.content is None:
                found.folders.append(target)
                _walk(found, keys, top, place, manifest.seal_id, target)
            else:
                found.files[target] = _content(keys[manifest.generation], manifest.content, place)
        except Damaged as error:
            found.faults.append((where, str(error)))
            if re.fullmatch("[a-z2-7]{26}", place.name) and place.is_dir():
                found.nameless.append(place)


def _shown(folder: Path, own: set[str]) -> Iterator[Path]:
    return (place for place in sorted(folder.iterdir()) if place.name not in own and not place.name.startswith("."))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Damaged(f"no {file.name}") from error


def _check_place(found: Recovered, manifest: Manifest, folder: bytes | None) -> None:
    if manifest.kind == "v":
        raise Damaged("a version, which does not belong here")
    if folder not in (manifest.folder, None):
        raise Damaged("an entry of another folder")
    if manifest.seal_id in found.seal_ids:
        raise Damaged("an entry that is there twice")
    found.seal_ids.add(manifest.seal_id)


def _content(keys: Keys, content: tuple[bytes, bytes, int, bytes], place: Path) -> bytes:
    content_id, wrapped, length, digest = content
    sealed = _read(place / "parts")
    if hashlib.sha256(sealed).digest() != digest:
        raise Damaged("another part list")
    pieces = open_list(content_id, keys.content_key(content_id, wrapped), sealed)
    if sum(piece.length for piece in pieces) != length:
        raise Damaged("a part list of another length")
    for stray in _shown(place, {part_name(piece.id) for piece in pieces} | {"manifest", "parts"}):
        raise Damaged(f"{stray.name} does not belong here")
    opened: dict[bytes, bytes] = {}
    for piece in pieces:
        if piece.id not in opened:
            data = _read(place / part_name(piece.id))
            opened[piece.id] = open_part(piece.id, piece.key, piece.part_length, data)
    return b"".join(opened[piece.id][piece.offset : piece.offset + piece.length] for piece in pieces)


def main() -> int:
    key_file, folder, out = (Path(value) for value in sys.argv[1:])
    private_key = load_pem_private_key(key_file.read_bytes(), None)
    found = read_vault(private_key, folder)
    for path in found.folders:
        (out / path).mkdir(parents=True, exist_ok=True)
    for path, data in found.files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
    for where, why in found.faults:
        print(f"{where}: {why}", file=sys.stderr)
    print(f"{len(found.files)} files, {len(found.folders)} folders, {len(found.faults)} faults; head {found.head}")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
