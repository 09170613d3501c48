"""What the NAS shall say of each entry of a vault: sealed in the transaction that changed it, by who has the key.

So the mirror needs none: it carries what is stored (`sealed_copies`). A manifest is made anew only when something that
it tells is another: so who trashes, purges or cares for what is in a vault needs no key either.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Collection
from functools import partial

from vfs import links
from vfs.core import Kelp
from vfs.crypto import base64url, vault_files
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.manifests import Manifest, ManifestKind, SealedContent, seal_manifest
from vfs.crypto.parts import part_id
from vfs.crypto.sealed_texts import Text, open_text
from vfs.crypto.vault_files import VaultFile
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt, KeyMissing, NotFound
from vfs.metadata.database import Tx
from vfs.metadata.manifests import Subject
from vfs.metadata.retrying import retried
from vfs.model import Done
from vfs.nas_model import is_sealed
from vfs.operations import keyring, mirroring
from vfs.operations.sealed_copies import digest_of

log = logging.getLogger(__name__)

_KINDS = {"folder": ManifestKind.FOLDER, "file": ManifestKind.FILE, "version": ManifestKind.VERSION}


def renew(keys: KeyRing, tx: Tx, entry_ids: Collection[int]) -> None:
    """Make the manifests of these entries, and of their versions, that are not as they should be; those of entries
    that are in no vault, or DELETED, are passed over.

    Raises KeyMissing, ContentCorrupt (what is stored was changed by somebody).
    """
    closed = [partial(tx.vaults.closed, vault_id) for vault_id in tx.seals.vaults_seen(entry_ids)]
    subjects = list(tx.manifests.subjects(entry_ids, *closed))
    opened: dict[int, VaultKey] = {}  # of a copy with thousands of entries, looked up once
    digests = {each.described_content_id: each.list_digest for each in subjects}  # a version was the file before
    for each in subjects:
        if each.version or is_sealed(each.name):
            _renew(keys, tx, each, opened, digests)
        else:
            _renew_vault_file(keys, tx, each)
    tx.manifests.drop_purged({each.entry_id for each in subjects if each.version})


def _renew(
    keys: KeyRing, tx: Tx, of: Subject, opened: dict[int, VaultKey], digests: dict[str | None, str | None]
) -> None:
    basis = _basis(of)
    if basis == of.basis:
        return
    key = opened.get(of.vault_id)
    if key is None:
        key = opened[of.vault_id] = keyring.vault_key_in(tx, keys, of.vault_id)
    list_digest = _list_digest(tx, of.content_id, digests)
    try:
        sealed = seal_manifest(key, _manifest(tx, key, of, list_digest))
    except ValueError as error:
        raise ContentCorrupt(f"entry {of.entry_id}: what seals it in the database is damaged: {error}") from error
    digest = digest_of(sealed)
    tx.manifests.put(of, sealed, digest, basis=basis, generation=key.generation, list_digest=list_digest)


def _basis(of: Subject) -> str:
    """Of all that the manifest tells but its number. A version tells what the file was called when it was made."""
    told = [of.seal_id, of.content_id, of.mtime_ns]
    if not of.version:
        told += [of.parent_seal_id, of.name, of.mime_type, of.kind]
    return hashlib.sha256("\n".join(map(str, told)).encode()).hexdigest()


def _list_digest(tx: Tx, content_id: str | None, known: dict[str | None, str | None]) -> str | None:
    """The list of a large content takes megabytes, and is not read for each new name."""
    if content_id is None:
        return None
    return known.get(content_id) or digest_of(tx.manifests.part_list(content_id) or b"")


def _manifest(tx: Tx, key: VaultKey, of: Subject, list_digest: str | None) -> Manifest:
    if of.parent_seal_id is None:
        raise ContentCorrupt(f"entry {of.entry_id} is in a vault, and its folder is not")
    content = None
    if of.content_id is not None and list_digest is not None:
        wrapped = base64url.decode(of.wrapped_key or "", f"content {of.content_id}: its key")
        content = SealedContent(uuid.UUID(of.content_id).bytes, wrapped, of.size, bytes.fromhex(list_digest))
    return Manifest(
        vault_id=key.vault_id,
        generation=key.generation,
        kind=_kind(key, of),
        seal_id=part_id(of.seal_id),
        parent_seal_id=part_id(of.parent_seal_id),
        sequence=of.sequence,
        mtime_ns=of.mtime_ns,
        sealed_name=_bare(of.name),
        sealed_type=_bare(of.mime_type),
        content=content,
    )


def _kind(key: VaultKey, of: Subject) -> ManifestKind:
    """The type says of a file that it is a symbolic link; it is opened only where the size lets it be one."""
    may_be_link = of.kind == "file" and of.size == links.SIZE and of.mime_type != ""
    if may_be_link and open_text(key, Text.TYPE, part_id(of.seal_id), _bare(of.mime_type)) == links.TYPE:
        return ManifestKind.SYMLINK
    return _KINDS[of.kind]


def _bare(stored: str) -> str:
    """What is sealed of a stored name or text, without what tells in which vault and for whom."""
    return stored.rpartition(".")[2]


# --- vault.json ---


def _renew_vault_file(keys: KeyRing, tx: Tx, root: Subject) -> None:
    closed = tx.vaults.closed(root.vault_id)
    if closed is None or root.basis == str(closed.version):
        return
    try:
        key = keys.open(closed)
    except (KeyMissing, ContentCorrupt):
        if root.basis is None:
            raise
        return  # moving or deleting a vault takes no key: what others changed of its recipients is the batch's work
    recipients = tuple(
        vault_files.Recipient(key_id, role, label, base64url.decode(wrapped, f"vault {closed.uuid}: a wrapped key"))
        for key_id, role, label, wrapped in tx.manifests.recipients(root.vault_id, closed.generation)
    )
    file = VaultFile(key.vault_id, key.generation, part_id(root.seal_id), recipients)
    data = vault_files.encode(key, file)
    version = str(closed.version)
    tx.manifests.put(root, data, digest_of(data), basis=version, generation=key.generation, list_digest=None)


def run(kelp: Kelp) -> Done:
    """A batch: `vault.json` of the vaults whose recipients have changed is made anew, and carried to the NAS."""
    with kelp.database.read() as tx:
        behind = tx.manifests.vaults_behind()
    done = 0
    for vault_id, root_id in behind:
        try:
            keyring.vault_key(kelp, vault_id)  # outside of the change: it may read a file
            _change(kelp, root_id)
            done += 1
        except (KeyMissing, ContentCorrupt, NotFound) as error:
            log.warning("vault.json is left as it is: %s", error)
    return Done(done)


@retried
def _change(kelp: Kelp, root_id: int) -> None:
    with kelp.database.write() as tx:
        tx.lock_keys()
        tx.lock_mirror()
        tx.lock_tree()
        tx.lock_rows([root_id])
        renew(kelp.keys, tx, [root_id])
        mirroring.make_due(tx, root_id, kelp.clock.now_ns())
