"""Who may open vaults: public keys, each of a server, of an admin, or for recovery.

A batch wraps the keys of vaults for who was added (`rewrapping`); what was wrapped for somebody goes with him at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from vfs.core import Kelp
from vfs.crypto import key_files, key_pairs
from vfs.crypto.key_pairs import PublicKey
from vfs.crypto.vault_files import MAX_LABEL_BYTES, MAX_RECIPIENTS
from vfs.errors import AlreadyExists, InvalidRequest, NotFound
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.vault_model import Recipient, RecipientRole

log = logging.getLogger(__name__)

_SHORTEST = 4  # characters by which a key may be named


@dataclass(frozen=True, slots=True)
class Shown:
    """`is_here`: this process has the private key. `waiting`: vaults still to be wrapped for it; of a retired one:
    those of its vaults that are not wrapped for all who are active. `file`: a replaced key's, on this machine."""

    recipient: Recipient
    is_here: bool
    waiting: int
    file: str

    @property
    def may_go(self) -> bool:
        """It was replaced, and nothing needs it any more but what is wrapped for it."""
        return not self.recipient.is_active and self.waiting == 0


@dataclass(frozen=True, slots=True)
class Removed:
    recipient: Recipient
    has_recovery: bool


def every(kelp: Kelp) -> list[Shown]:
    """All that were not removed, and removed ones too, oldest first."""
    here, files = set(kelp.keys.ids()), key_files.kept_by_id(kelp.settings)
    with kelp.database.read() as tx:
        total, behind = tx.vaults.count(), set(tx.vaults.behind())
        return [
            Shown(
                each,
                each.key_id in here,
                total - each.vaults if each.is_active else len(behind.intersection(tx.vaults.of_recipient(each.id))),
                str(files.get(each.key_id, "")),
            )
            for each in tx.recipients.every()
        ]


def add(kelp: Kelp, pem: bytes, role: RecipientRole, label: str) -> Recipient:
    """A public key, PEM. One that was removed before is active again.

    Raises InvalidRequest (no such key, a private one, fewer than 3072 bits, the label), AlreadyExists.
    """
    public = key_pairs.read_public(pem)
    return _add(kelp, public, role, label)


@retried
def _add(kelp: Kelp, public: PublicKey, role: RecipientRole, label: str) -> Recipient:
    with kelp.database.write() as tx:
        tx.lock_keys()
        known = tx.recipients.find(public.id)
        if known is not None and known.is_active:
            raise AlreadyExists(f"{public.id} is a recipient already ({known.role.value})")
        made = register(tx, public, role, label, kelp.clock.now_ns())
    log.info("vaults are to be wrapped for %s (%s)", public.id, role.value)
    return made


def register(tx: Tx, public: PublicKey, role: RecipientRole, label: str, now_ns: int) -> Recipient:
    """An active recipient, whatever it was before. The caller has `lock_keys`. Raises InvalidRequest."""
    check_label(label)
    known = tx.recipients.find(public.id)
    if known is not None:
        tx.recipients.bring_back(known.id, role, label)
    else:
        if sum(each.is_active or each.vaults > 0 for each in tx.recipients.every()) >= MAX_RECIPIENTS:
            raise InvalidRequest(f"a vault has at most {MAX_RECIPIENTS} recipients: remove some first")
        tx.recipients.insert(public.id, role, label, public.pem, now_ns)
    made = tx.recipients.find(public.id)
    assert made is not None
    return made


def check_label(label: str) -> None:
    """Raises InvalidRequest."""
    if not (label.isprintable() and len(label.encode("utf-8", "surrogatepass")) <= MAX_LABEL_BYTES):
        raise InvalidRequest(f"a label is at most {MAX_LABEL_BYTES} bytes of printable text")


def remove(kelp: Kelp, name: str) -> Removed:
    """Drop everything that is wrapped for a key; `name`: its id, or how that begins. What somebody has read he knows.

    Raises NotFound, InvalidRequest when a vault could not be opened any more by a server (of a server's key: by this
    one, so that nobody finds out too late that a key was never there).
    """
    here = set(kelp.keys.ids())
    return _remove(kelp, name, here)


@retried
def _remove(kelp: Kelp, name: str, here: set[str]) -> Removed:
    with kelp.database.write() as tx:
        tx.lock_keys()
        found = _named(tx, name)
        _require_others(tx, found, here)
        tx.recipients.retire(found.id, kelp.clock.now_ns())
        tx.vaults.drop_wraps(found.id)
        has_recovery = any(each.role is RecipientRole.RECOVERY for each in tx.recipients.active())
    log.info("nothing is wrapped any more for %s (%s)", found.key_id, found.role.value)
    return Removed(found, has_recovery)


def _require_others(tx: Tx, gone: Recipient, here: set[str]) -> None:
    servers = {each.key_id for each in tx.recipients.every() if each.role is RecipientRole.SERVER}
    if gone.role is RecipientRole.SERVER:
        servers &= here
    for vault_id in tx.vaults.of_recipient(gone.id):
        closed = tx.vaults.closed(vault_id)
        if closed is None or not any(each.key_id in servers - {gone.key_id} for each in closed.wrapped):
            raise InvalidRequest(
                f"{gone.key_id} is still needed: vault {closed.uuid if closed else vault_id} would be closed to this "
                "server. Wait until it is wrapped for another server key, which `kelp keys list` tells"
            )


def _named(tx: Tx, name: str) -> Recipient:
    found = [each for each in tx.recipients.every() if each.key_id.startswith(name.lower())]
    if len(name) < _SHORTEST or not found:
        raise NotFound(f"there is no recipient {name}")
    if len(found) > 1:
        raise InvalidRequest(f"several keys begin with {name}: give more of it")
    return found[0]


def succeed(kelp: Kelp, public: PublicKey, here: set[str]) -> list[Recipient]:
    """A new server key takes the place of the server keys that this process has (`here`); those are retired."""
    return _succeed(kelp, public, here)


@retried
def _succeed(kelp: Kelp, public: PublicKey, here: set[str]) -> list[Recipient]:
    with kelp.database.write() as tx:
        tx.lock_keys()
        before = [
            each
            for each in tx.recipients.active()
            if each.role is RecipientRole.SERVER and each.key_id in here and each.key_id != public.id
        ]
        now = kelp.clock.now_ns()
        register(tx, public, RecipientRole.SERVER, before[0].label if before else "", now)
        for each in before:
            tx.recipients.retire(each.id, now)
    log.info("vaults are to be wrapped for %s, the server's new key", public.id)
    return before


def find(kelp: Kelp, key_id: str) -> Recipient | None:
    with kelp.database.read() as tx:
        return tx.recipients.find(key_id)
