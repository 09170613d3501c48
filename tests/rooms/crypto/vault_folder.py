"""Makes a vault as it lies on the NAS, with the product's own sealing; other code reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from vfs.crypto import heads, key_pairs, manifests, sealed_names, sealed_texts, vault_files, vault_keys
from vfs.crypto.manifests import Manifest, ManifestKind, SealedContent
from vfs.crypto.part_lists import PartList, Slice, seal_parts
from vfs.crypto.parts import NewPart, PartKey, part_name
from vfs.crypto.vault_files import Recipient, VaultFile
from vfs.crypto.vault_keys import VaultKey
from vfs.vault_model import RecipientRole

STAMP = "20260101090000"


@dataclass
class Folder:
    """Where it lies, and what entries in it are bound to."""

    place: Path
    seal_id: bytes


@dataclass
class VaultFolder:
    """`made`: for each file or link its place, manifest, content key, list and the parts' plain bytes."""

    top: Path
    private_key: rsa.RSAPrivateKey
    key: VaultKey = field(default_factory=VaultKey.generate)
    root: Folder = field(init=False)
    made: dict[str, Made] = field(default_factory=dict)
    digests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = Folder(self.top, vault_keys.new_id())
        self.top.mkdir(parents=True, exist_ok=True)
        self.write_vault_json()

    def write_vault_json(self, *older: VaultKey) -> None:
        raw = self.private_key.public_key()
        public = key_pairs.PublicKey(key_pairs.key_id(raw), raw.key_size, raw)
        wrapped = key_pairs.wrap_for(public, self.key.vault_id, self.key.secret)
        mine = Recipient(public.id, RecipientRole.RECOVERY, "the safe of Åsa", wrapped)
        before = tuple(vault_files.OlderKey(key.generation, self.key.wrap_older(key)) for key in older)
        file = VaultFile(self.key.vault_id, self.key.generation, self.root.seal_id, (mine,), before)
        (self.top / "vault.json").write_bytes(vault_files.encode(self.key, file))

    @property
    def head(self) -> str:
        return heads.head(self.key.vault_id, self.digests)

    def folder(self, parent: Folder, name: str, key: VaultKey | None = None) -> Folder:
        made = Folder(parent.place / part_name(vault_keys.new_id()), vault_keys.new_id())
        made.place.mkdir()
        self._manifest(key or self.key, parent, made, ManifestKind.FOLDER, name, "", None)
        return made

    def file(
        self,
        parent: Folder,
        name: str,
        parts: list[bytes],
        slices: list[tuple[int, int, int]] | None = None,
        *,
        kind: ManifestKind = ManifestKind.FILE,
        mime_type: str = "application/octet-stream",
        key: VaultKey | None = None,
    ) -> Made:
        """`slices`: number of a part, offset, length; None: all parts, whole, in order."""
        vault_key = key or self.key
        entry = Folder(parent.place / f"{STAMP}__{part_name(vault_keys.new_id())}", vault_keys.new_id())
        entry.place.mkdir()
        new = [NewPart() for _ in parts]
        for part, plain in zip(new, parts, strict=True):
            (entry.place / part.key.name).write_bytes(part.seal_buffer(plain))
        wanted = [(number, 0, len(plain)) for number, plain in enumerate(parts)] if slices is None else slices
        listed = PartList(tuple(Slice(new[at].key, len(parts[at]), offset, length) for at, offset, length in wanted))
        content_id, content_key = vault_keys.new_id(), vault_keys.new_content_key()
        sealed = seal_parts(content_id, content_key, listed)
        (entry.place / "parts").write_bytes(sealed)
        content = SealedContent(
            content_id,
            vault_key.wrap_content_key(content_id, content_key),
            listed.length,
            manifests.digest(sealed),
        )
        manifest = self._manifest(vault_key, parent, entry, kind, name, mime_type, content)
        plain = b"".join(parts[at][offset : offset + length] for at, offset, length in wanted)
        made = Made(
            entry.place,
            manifest,
            content_key,
            listed,
            [(part.key, data) for part, data in zip(new, parts, strict=True)],
            plain,
        )
        self.made[name] = made
        return made

    def _manifest(
        self,
        key: VaultKey,
        parent: Folder,
        entry: Folder,
        kind: ManifestKind,
        name: str,
        mime_type: str,
        content: SealedContent | None,
    ) -> Manifest:
        sealed_type = sealed_texts.seal_text(key, sealed_texts.Text.TYPE, entry.seal_id, mime_type) if mime_type else ""
        manifest = Manifest(
            key.vault_id,
            key.generation,
            kind,
            entry.seal_id,
            parent.seal_id,
            sequence=7,
            mtime_ns=1_767_258_000_123_456_789,
            sealed_name=sealed_names.seal_name(key, parent.seal_id, name),
            sealed_type=sealed_type,
            content=content,
        )
        data = manifests.seal_manifest(key, manifest)
        (entry.place / "manifest").write_bytes(data)
        self.digests.append(manifests.digest(data))
        return manifest


@dataclass
class Made:
    place: Path
    manifest: Manifest
    content_key: bytes
    listed: PartList
    parts: list[tuple[PartKey, bytes]]
    plain: bytes
