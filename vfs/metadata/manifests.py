"""SQL of manifests (docs/vault-format.md): what the NAS shall say of each entry of a vault, sealed by who changed it.

So whoever carries it there needs no key. `subject`: the id of an entry, as text, or the uuid of a version. That of the
root of a vault is its `vault.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vfs.metadata.lists import portions
from vfs.vault_model import RecipientRole

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class Kept(NamedTuple):
    """`digest`: SHA-256 of `sealed`, hex. `content_id`: what it describes; None: a folder."""

    sealed: bytes
    digest: str
    content_id: str | None


class Subject(NamedTuple):
    """An entry of a vault, or a version of one (its uuid), with all that its manifest tells; names and types as stored.

    `basis`, `list_digest`: what the manifest that it has was made of (None: it has none), and of its part list.
    `size` is that of the plain bytes.
    """

    entry_id: int
    version: str
    vault_id: int
    kind: str
    seal_id: str
    parent_seal_id: str | None
    sequence: int
    mtime_ns: int
    name: str
    mime_type: str
    content_id: str | None
    wrapped_key: str | None
    size: int
    basis: str | None
    described_content_id: str | None
    list_digest: str | None

    @property
    def key(self) -> str:
        return self.version or str(self.entry_id)


_OF_ENTRY = """e.vault_id, {kind}, e.seal_id, p.seal_id, e.version, {mtime}, e.name, e.mime_type"""
_OF_CONTENT = "c.id, c.wrapped_key, {size}, m.basis, m.content_id, m.list_digest"
_FROM_ENTRY = f"""
    SELECT e.id, '', {_OF_ENTRY.format(kind="e.kind", mtime="e.mtime_ns")}, {_OF_CONTENT.format(size="e.size")}
    FROM entries e LEFT JOIN entries p ON p.id = e.parent_id LEFT JOIN contents c ON c.id = e.content_id
    LEFT JOIN manifests m ON m.subject = CAST(e.id AS TEXT)
    WHERE e.vault_id IS NOT NULL AND e.state <> 'DELETED' AND e.id IN ({{marks}})"""
_FROM_VERSION = f"""
    SELECT e.id, v.uuid, {_OF_ENTRY.format(kind="'version'", mtime="v.created_ns")}, {_OF_CONTENT.format(size="v.size")}
    FROM versions v JOIN entries e ON e.id = v.entry_id LEFT JOIN entries p ON p.id = e.parent_id
    JOIN contents c ON c.id = v.content_id LEFT JOIN manifests m ON m.subject = v.uuid
    WHERE e.vault_id IS NOT NULL AND v.state = 'kept' AND v.entry_id IN ({{marks}})"""


class Manifests:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._lists: dict[str, bytes] = {}  # of contents that this transaction makes

    def get(self, subject: str) -> Kept | None:
        sql = "SELECT sealed, digest, content_id FROM manifests WHERE subject = :subject"
        row = self._tx.one(sql, subject=subject)
        return None if row is None else Kept(bytes(row[0]), row[1], row[2])

    def digest(self, subject: str) -> str | None:
        row = self._tx.one("SELECT digest FROM manifests WHERE subject = :subject", subject=subject)
        return None if row is None else str(row[0])

    def subjects(self, entry_ids: Collection[int], *soon: Callable[[], object]) -> Iterator[Subject]:
        """Those of these entries that are in a vault, and are not DELETED, with their versions. `soon`: looks that
        follow, brought with these (`Tx.foresee`)."""
        looks = [
            partial(self._tx.all, sql.format(marks=marks), **values)
            for marks, values in portions(sorted(entry_ids))
            for sql in (_FROM_ENTRY, _FROM_VERSION)
        ]
        self._tx.foresee(*looks, *soon)
        for look in looks:
            for row in look():
                yield Subject(*row)

    def know_list(self, content_id: str, part_list: bytes) -> None:
        """This transaction makes the content: nobody need ask for its list."""
        self._lists[content_id] = part_list

    def part_list(self, content_id: str) -> bytes | None:
        """Sealed; None of a plain content, and of one that is not there."""
        if content_id in self._lists:
            return self._lists[content_id]
        row = self._tx.one("SELECT part_list FROM contents WHERE id = :id", id=content_id)
        return bytes(row[0]) if row is not None and row[0] is not None else None

    def put(
        self, of: Subject, sealed: bytes, digest: str, *, basis: str, generation: int, list_digest: str | None
    ) -> None:
        """In place of the one that it had."""
        self._tx.run(
            """INSERT INTO manifests (subject, entry_id, content_id, basis, list_digest, generation, digest, sealed)
               VALUES (:subject, :entry, :content, :basis, :list, :generation, :digest, :sealed)
               ON CONFLICT (subject) DO UPDATE SET entry_id = excluded.entry_id, content_id = excluded.content_id,
                   basis = excluded.basis, list_digest = excluded.list_digest, generation = excluded.generation,
                   digest = excluded.digest, sealed = excluded.sealed""",
            subject=of.key,
            entry=of.entry_id,
            content=of.content_id,
            basis=basis,
            list=list_digest,
            generation=generation,
            digest=digest,
            sealed=sealed,
        )

    def recipients(self, vault_id: int, generation: int) -> list[tuple[str, RecipientRole, str, str]]:
        """(key id, role, label, wrapped key) of all who can open a vault, for its `vault.json`."""
        rows = self._tx.all(
            """SELECT r.key_id, r.role, r.label, w.wrapped_key
               FROM vault_recipients w JOIN recipients r ON r.id = w.recipient_id
               WHERE w.vault_id = :id AND w.generation = :generation ORDER BY r.id""",
            id=vault_id,
            generation=generation,
        )
        return [(row[0], RecipientRole(row[1]), row[2], row[3]) for row in rows]

    def vaults_behind(self) -> list[tuple[int, int]]:
        """(id, root) of vaults whose `vault.json` is of another version than they are."""
        return self._tx.all(
            """SELECT v.id, v.entry_id FROM vaults v JOIN entries e ON e.id = v.entry_id
               LEFT JOIN manifests m ON m.subject = CAST(v.entry_id AS TEXT)
               WHERE e.state <> 'DELETED' AND m.basis IS DISTINCT FROM CAST(v.version AS TEXT) ORDER BY v.id"""
        )

    def mirrored(self, root_id: int, digest: str) -> None:
        """The NAS has this `vault.json`."""
        self._tx.run(
            """UPDATE vaults SET mirrored_version = (
                   SELECT CAST(m.basis AS BIGINT) FROM manifests m WHERE m.subject = CAST(vaults.entry_id AS TEXT))
               WHERE entry_id = :root AND EXISTS (
                   SELECT 1 FROM manifests m WHERE m.subject = CAST(vaults.entry_id AS TEXT) AND m.digest = :digest)""",
            root=root_id,
            digest=digest,
        )

    def drop_purged(self, entry_ids: Collection[int]) -> None:
        """Those of versions that are not there any more."""
        for marks, values in portions(sorted(entry_ids)):
            self._tx.run(
                f"""DELETE FROM manifests WHERE entry_id IN ({marks}) AND subject <> CAST(entry_id AS TEXT)
                    AND subject NOT IN (SELECT uuid FROM versions WHERE entry_id IN ({marks}) AND state <> 'purged')""",
                **values,
            )

    def reachable(self, vault_id: int) -> list[str]:
        """Digests of all ACTIVE entries below the root of a vault."""
        rows = self._tx.each(
            """WITH RECURSIVE down(id) AS (
                   SELECT e.id FROM entries e JOIN vaults v ON v.entry_id = e.parent_id
                   WHERE v.id = :vault AND e.state = 'ACTIVE'
                   UNION ALL
                   SELECT e.id FROM entries e JOIN down ON e.parent_id = down.id WHERE e.state = 'ACTIVE')
               SELECT m.digest FROM down JOIN manifests m ON m.subject = CAST(down.id AS TEXT)""",
            vault=vault_id,
        )
        return [row[0] for row in rows]
