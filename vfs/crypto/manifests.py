"""The manifest of an entry of a vault on the NAS (docs/vault-format.md, "Manifests").

Its head is readable and says whose it is; the rest is sealed by AES-256-SIV, bound to the head. Deterministic: the same
entry gives the same bytes, so that the head of a vault can be counted from the database.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidTag

from vfs.crypto.vault_keys import SIV_SIZE, WRAPPED_SIZE, VaultKey, check_id
from vfs.errors import ContentCorrupt

DIGEST_SIZE = 32
MAX_NAME_CHARACTERS = 362  # of a sealed name: 271 bytes in base64url
MAX_TYPE_CHARACTERS = 2**16 - 1  # of a sealed type; a client may send any, and a longer one is left out
MAX_MANIFEST_SIZE = 128 * 1024
_MARK = b"KELPMAN1"
_HEAD = struct.Struct(">8s16sIc16s16s")  # the mark, vault id, generation, kind, seal id, its parent's seal id
_BODY = struct.Struct(">QqHH?")  # sequence, mtime_ns, lengths of sealed name and type, whether there is a content
_CONTENT = struct.Struct(f">16s{WRAPPED_SIZE}sQ{DIGEST_SIZE}s")  # id, wrapped key, plain length, digest of its list


class ManifestKind(StrEnum):
    """The values are the bytes of the format."""

    FOLDER = "d"
    FILE = "f"
    SYMLINK = "l"  # its content is what a symbolic link is on a NAS
    VERSION = "v"  # an older content of a file


@dataclass(frozen=True, slots=True)
class SealedContent:
    """What a manifest says of a content. `list_digest`: SHA-256 of the sealed part list, 32 bytes."""

    id: bytes
    wrapped_key: bytes
    length: int
    list_digest: bytes

    def __post_init__(self) -> None:
        check_id(self.id, "a content's id")
        if len(self.wrapped_key) != WRAPPED_SIZE or len(self.list_digest) != DIGEST_SIZE:
            raise ValueError(f"a wrapped key has {WRAPPED_SIZE} bytes, a digest {DIGEST_SIZE}")
        if not 0 <= self.length < 2**63:
            raise ValueError(f"no length: {self.length}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """`sealed_name`, `sealed_type`: as in the database (`seal_name`, `seal_text`); a type may be "". `sequence`: the
    version of the entry's row. `content`: None for folders only. Raises ValueError for what cannot be."""

    vault_id: bytes
    generation: int
    kind: ManifestKind
    seal_id: bytes
    parent_seal_id: bytes
    sequence: int
    mtime_ns: int
    sealed_name: str
    sealed_type: str
    content: SealedContent | None

    def __post_init__(self) -> None:
        check_id(self.vault_id, "a vault's id")
        check_id(self.seal_id, "a seal id")
        check_id(self.parent_seal_id, "a seal id")
        if self.seal_id == self.parent_seal_id:
            raise ValueError("an entry is not its own parent")
        if (self.content is None) != (self.kind == ManifestKind.FOLDER):
            raise ValueError("a folder has no content, all else has one")
        if not 0 < len(self.sealed_name) <= MAX_NAME_CHARACTERS or len(self.sealed_type) > MAX_TYPE_CHARACTERS:
            raise ValueError("no sealed name or type of that length")
        if not (self.sealed_name + self.sealed_type).isascii():
            raise ValueError("sealed texts are ASCII")
        if not (1 <= self.generation < 2**32 and 0 <= self.sequence < 2**63 and -(2**63) <= self.mtime_ns < 2**63):
            raise ValueError("a number of the manifest is out of bounds")


def seal_manifest(vault_key: VaultKey, manifest: Manifest) -> bytes:
    """The file's bytes. Raises ValueError: of another vault, or of another generation of its key."""
    if (manifest.vault_id, manifest.generation) != (vault_key.vault_id, vault_key.generation):
        raise ValueError("the manifest is not for this key")
    head = _HEAD.pack(
        _MARK,
        manifest.vault_id,
        manifest.generation,
        manifest.kind.value.encode(),
        manifest.seal_id,
        manifest.parent_seal_id,
    )
    return head + vault_key.manifests.encrypt(_encode(manifest), [b"manifest", head])


def open_manifest(vault_key: VaultKey, data: bytes) -> Manifest:
    """Raises ContentCorrupt: no manifest, changed, or of another vault or generation."""
    if not _HEAD.size + SIV_SIZE + _BODY.size < len(data) <= MAX_MANIFEST_SIZE:
        raise ContentCorrupt(f"manifest: none has {len(data)} bytes")
    head, sealed = data[: _HEAD.size], data[_HEAD.size :]
    mark, vault_id, generation, kind, seal_id, parent = _HEAD.unpack(head)
    if mark != _MARK:
        raise ContentCorrupt("manifest: another format")
    what = f"manifest of {seal_id.hex()}"
    if vault_id != vault_key.vault_id:
        raise ContentCorrupt(f"{what}: of another vault, {vault_id.hex()}")
    if generation != vault_key.generation:
        raise ContentCorrupt(f"{what}: of generation {generation} of the vault's key, not {vault_key.generation}")
    try:
        body = vault_key.manifests.decrypt(sealed, [b"manifest", head])
    except InvalidTag as error:
        raise ContentCorrupt(f"{what} was changed, or is of another vault") from error
    try:
        return _decode(vault_id, generation, ManifestKind(kind.decode("ascii")), seal_id, parent, body)
    except (ValueError, struct.error) as error:
        raise ContentCorrupt(f"{what} is sealed well, but wrong: {error}") from error


def digest(data: bytes) -> bytes:
    """SHA-256 of the bytes of a manifest, or of a sealed part list: 32 bytes."""
    return hashlib.sha256(data).digest()


def _encode(manifest: Manifest) -> bytes:
    name, kind, content = manifest.sealed_name.encode(), manifest.sealed_type.encode(), manifest.content
    body = _BODY.pack(manifest.sequence, manifest.mtime_ns, len(name), len(kind), content is not None) + name + kind
    if content is None:
        return body
    return body + _CONTENT.pack(content.id, content.wrapped_key, content.length, content.list_digest)


def _decode(
    vault_id: bytes, generation: int, kind: ManifestKind, seal_id: bytes, parent: bytes, body: bytes
) -> Manifest:
    """Raises ValueError or struct.error."""
    sequence, mtime_ns, name_length, type_length, has_content = _BODY.unpack_from(body)
    middle = _BODY.size + name_length
    end = middle + type_length
    if len(body) != end + has_content * _CONTENT.size:
        raise ValueError("its length is not what it says")
    content = SealedContent(*_CONTENT.unpack_from(body, end)) if has_content else None
    name, mime_type = body[_BODY.size : middle].decode("ascii"), body[middle:end].decode("ascii")
    manifest = Manifest(vault_id, generation, kind, seal_id, parent, sequence, mtime_ns, name, mime_type, content)
    if _encode(manifest) != body:
        raise ValueError("not the one form of it")
    return manifest
