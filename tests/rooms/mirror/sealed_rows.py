"""A vault on a `MirrorDrive` whose rows are written as they are stored: sealed names and bytes are any text and bytes,
since who carries them cannot tell."""

from __future__ import annotations

import hashlib
import os
import uuid
from base64 import b32encode, urlsafe_b64encode

from blake3 import blake3

from tests.mirror_drive import MirrorDrive
from vfs.metadata.database import Tx
from vfs.model import Content, Part
from vfs.operations import mirroring
from vfs.operations.nas_copies import part_file
from vfs.vault_model import RecipientRole

Bundle = dict[str, bytes]


def base32(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()


def plain_size(content: Content) -> int:
    return content.size - 16 * len(content.parts)


def text(size: int) -> str:
    return urlsafe_b64encode(os.urandom(size)).decode().rstrip("=")


class SealedRows:
    """`desired`: what the NAS shall show of an entry or version, by its subject."""

    def __init__(self, drive: MirrorDrive, name: str = "Secret") -> None:
        self.drive = drive
        self.root = drive.mkdir(name).id
        self.seals = {self.root: base32(os.urandom(16))}
        with drive.kelp.database.write() as tx:
            now = drive.clock.now_ns()
            recipient = tx.recipients.insert(os.urandom(16).hex(), RecipientRole.SERVER, "", "a key", now)
            self.vault = tx.vaults.insert(str(uuid.uuid4()), 1, None, now, self.root)
            tx.vaults.wrap(self.vault, recipient, 1, text(384))
            sql = "UPDATE entries SET vault_id = :vault, seal_id = :seal WHERE id = :id"
            tx.run(sql, vault=self.vault, seal=self.seals[self.root], id=self.root)
            self.describe_in(tx, self.root)

    # --- changes, as their operations write them ---

    def folder(self, parent: int | None = None) -> int:
        return self._insert(parent or self.root, "folder", None)

    def file(self, *parts: bytes, parent: int | None = None) -> int:
        return self._insert(parent or self.root, "file", self._store(parts))

    def overwrite(self, id: int, *parts: bytes) -> str:
        """The uuid of the version that it has now."""
        content, version = self._store(parts), str(uuid.uuid4())
        with self.drive.kelp.database.write() as tx:
            now = self.drive.clock.now_ns()
            old, size, created = tx.one("SELECT content_id, size, content_ns FROM entries WHERE id = :id", id=id)
            self._insert_content(tx, content)
            tx.versions.add(version, id, old, size, created, now, None)
            sql = "UPDATE entries SET content_id = :c, content_ns = :now, size = :size, mtime_ns = :now WHERE id = :id"
            tx.run(sql, c=content.id, now=now, size=plain_size(content), id=id)
            self._put_manifest(tx, version, id, old)
            self.describe_in(tx, id)
        return version

    def rename(self, id: int) -> None:
        with self.drive.kelp.database.write() as tx:
            self._name(tx, id, tx.one("SELECT parent_id FROM entries WHERE id = :id", id=id)[0])
            self.describe_in(tx, id)

    def move(self, id: int, parent: int) -> None:
        with self.drive.kelp.database.write() as tx:
            self._name(tx, id, parent)
            tx.run("UPDATE entries SET parent_id = :parent WHERE id = :id", id=id, parent=parent)
            self.describe_in(tx, id)

    def trash(self, id: int) -> None:
        with self.drive.kelp.database.write() as tx:
            now = self.drive.clock.now_ns()
            tx.run("UPDATE entries SET state = 'TRASHED', version = version + 1 WHERE id = :id", id=id)
            sql = """INSERT INTO trash_metadata (entry_id, original_path, trashed_ns, expires_ns)
                     VALUES (:id, '', :now, :expires)"""
            tx.run(sql, id=id, now=now, expires=now + 10**18)
            mirroring.make_due(tx, id, now)

    def restore(self, id: int) -> None:
        with self.drive.kelp.database.write() as tx:
            tx.run("UPDATE entries SET state = 'ACTIVE', version = version + 1 WHERE id = :id", id=id)
            tx.run("DELETE FROM trash_metadata WHERE entry_id = :id", id=id)
            mirroring.make_due(tx, id, self.drive.clock.now_ns())

    def purge(self, id: int) -> None:
        """With all that is below, as a batch does later."""
        with self.drive.kelp.database.write() as tx:
            below = """WITH RECURSIVE below(id) AS (
                           SELECT id FROM entries WHERE id = :id
                           UNION ALL SELECT e.id FROM entries e JOIN below ON e.parent_id = below.id)
                       SELECT id FROM below"""
            for (each,) in tx.all(below, id=id):
                tx.run("UPDATE entries SET state = 'DELETED', version = version + 1 WHERE id = :id", id=each)
                tx.run("DELETE FROM trash_metadata WHERE entry_id = :id", id=each)
                tx.versions.expire_all(each)
                mirroring.make_due(tx, each, self.drive.clock.now_ns())

    def describe(self, id: int) -> None:
        """Something of it was changed that only its manifest tells."""
        with self.drive.kelp.database.write() as tx:
            self.describe_in(tx, id)

    def describe_in(self, tx: Tx, id: int) -> None:
        content_id = tx.one("SELECT content_id FROM entries WHERE id = :id", id=id)[0]
        self._put_manifest(tx, str(id), id, content_id)
        tx.run("UPDATE entries SET version = version + 1 WHERE id = :id", id=id)
        mirroring.make_due(tx, id, self.drive.clock.now_ns())

    # --- rows ---

    def _insert(self, parent: int, kind: str, content: Content | None) -> int:
        seal, now = base32(os.urandom(16)), self.drive.clock.now_ns()
        stamp = "20260101000000" if content else None
        nas_name = f"{stamp}__{base32(os.urandom(16))}" if stamp else base32(os.urandom(16))
        with self.drive.kelp.database.write() as tx:
            if content is not None:
                self._insert_content(tx, content)
            id = tx.insert(
                """INSERT INTO entries (uuid, parent_id, name, name_key, kind, state, content_id, content_ns, size,
                       mime_type, mtime_ns, shown_mtime, created_ns, registered_ns, nas_stamp, nas_desired_name,
                       nas_desired_key, nas_status, vault_id, seal_id)
                   VALUES (:uuid, :parent, '', '', :kind, 'ACTIVE', :content, :now, :size, '', :now, 1, :now, :now,
                       :stamp, :nas, :nas, 'SYNCING', :vault, :seal)""",
                uuid=str(uuid.uuid4()), parent=parent, kind=kind, content=content and content.id, now=now,
                size=plain_size(content) if content else 0, stamp=stamp, nas=nas_name, vault=self.vault, seal=seal,
            )  # fmt: skip
            self.seals[id] = seal
            self._name(tx, id, parent)
            self.describe_in(tx, id)
        return id

    def _name(self, tx: Tx, id: int, parent: int) -> None:
        name, key = (f"/{self.vault}.{self.seals[parent]}.{text(20)}" for _ in range(2))
        tx.run("UPDATE entries SET name = :name, name_key = :key WHERE id = :id", id=id, name=name, key=key)

    def _store(self, parts: tuple[bytes, ...]) -> Content:
        """Equal ones become one object; each is as long as one frame of 64 KiB or less, sealed, would be."""
        parts = tuple(part + bytes(16) for part in parts)
        objects = {data: str(uuid.uuid4()) for data in parts}
        for data, key in objects.items():
            self.drive.kelp.cache.put(key, [data])
        made = tuple(Part(objects[data], len(data), blake3(data).hexdigest()) for data in parts)
        id = made[0].key if len(made) == 1 else str(uuid.uuid4())
        return Content(id, sum(map(len, parts)), blake3(b"".join(parts)).hexdigest(), None, made)

    def _insert_content(self, tx: Tx, content: Content) -> None:
        tx.contents.insert(content, self.drive.clock.now_ns(), tuple(dict.fromkeys(content.parts)))
        sql = "UPDATE contents SET vault_id = :vault, wrapped_key = :key, part_list = :list WHERE id = :id"
        tx.run(sql, vault=self.vault, key=text(48), list=b"list of " + content.id.encode(), id=content.id)

    def _put_manifest(self, tx: Tx, subject: str, id: int, content_id: str | None) -> None:
        sealed = f"manifest of {subject}, {content_id} ".encode() + os.urandom(8)
        tx.run(
            """INSERT INTO manifests (subject, entry_id, content_id, basis, generation, digest, sealed)
               VALUES (:subject, :id, :content, :basis, 1, :digest, :sealed) ON CONFLICT (subject) DO UPDATE
               SET content_id = excluded.content_id, digest = excluded.digest, sealed = excluded.sealed""",
            subject=subject, id=id, content=content_id, basis="1",
            digest=hashlib.sha256(sealed).hexdigest(), sealed=sealed,
        )  # fmt: skip

    # --- the NAS against the rows ---

    def bundle(self, subject: str, content_id: str) -> Bundle:
        """Names and bytes of the files that shall be there."""
        with self.drive.kelp.database.read() as tx:
            content, manifest = tx.contents.get(content_id), tx.manifests.get(subject)
            part_list = tx.manifests.part_list(content_id)
        assert content is not None and manifest is not None and part_list is not None
        parts = {part_file(part.key): b"".join(self.drive.kelp.cache.get(part.key)) for part in content.parts}
        return {**parts, "parts": part_list, "manifest": manifest.sealed}

    def expected(self) -> dict[str, Bundle]:
        """All bundles and folders that the NAS shall have of vaults, by path; of a folder only its manifest."""
        found: dict[str, Bundle] = {}
        with self.drive.kelp.database.read() as tx:
            known = """WITH RECURSIVE kept(id) AS (
                           SELECT id FROM entries WHERE id = 1
                           UNION ALL SELECT e.id FROM entries e JOIN kept ON e.parent_id = kept.id
                           WHERE e.state <> 'DELETED')
                       SELECT {} FROM entries e JOIN kept ON kept.id = e.id {} WHERE e.vault_id IS NOT NULL"""
            entries = tx.all(known.format("e.id, e.content_id", ""))
            kept = "JOIN versions v ON v.entry_id = e.id AND v.state = 'kept'"
            versions = tx.all(known.format("v.uuid, v.content_id", kept))
            places = {id: tx.verifying.place(id, None) for id, _ in entries}
            places |= {id: tx.verifying.place(0, id) for id, _ in versions}
            manifests = {id: tx.manifests.get(str(id)) for id, _ in entries}
            roots = {row[0] for row in tx.all("SELECT entry_id FROM vaults")}
        for id, content_id in [*entries, *versions]:
            place = places[id]
            assert place is not None, f"{id} is not on the NAS"
            if content_id is None:
                file = "vault.json" if id in roots else "manifest"
                found[place[0]] = {file: manifests[id].sealed}  # type: ignore[union-attr]
            else:
                found[place[0]] = self.bundle(str(id), content_id)
        return found

    def check(self) -> None:
        """Nothing is left to do, all is sound, and the NAS has these files of vaults, and no others."""
        self.drive.settle_down()
        self.drive.check()
        expected = {f"{path}/{name}": data for path, files in self.expected().items() for name, data in files.items()}
        there = {path: data for path, data in self.drive.raw_nas(private=True).items() if data is not None}
        tops = {path.split("/")[0] for path in expected}
        ours = {
            path: data
            for path, data in there.items()
            if path.split("/")[0] in tops and not path.startswith((".kelp/drive.json", ".kelp/names/"))
        }
        assert sorted(ours) == sorted(expected), set(ours) ^ set(expected)
        assert ours == expected
        assert not self.drive.raw_nas(".kelp/tmp"), "temporary files are left"
