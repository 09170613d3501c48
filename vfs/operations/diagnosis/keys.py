"""The keys of vaults: is this server's private key there and the right one, and who could open them without it?"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress

from vfs.crypto import key_files
from vfs.crypto.key_ring import KeyRing
from vfs.errors import ContentCorrupt, KeyMissing
from vfs.operations.diagnosis.findings import Area, Finding, Readings, Sealing
from vfs.settings import Settings
from vfs.vault_model import ClosedVault, RecipientRole

_AREA = Area("keys")
_MOST = 100  # vaults that are opened on trial, a millisecond or two each
_NAMED = 3


def check(settings: Settings, readings: Readings) -> Iterator[Finding]:
    """Of a drive that has neither vaults nor keys there is nothing to tell."""
    sealing, found = readings.sealing, key_files.find(settings)
    if sealing is None:
        if found.keys or found.faults:
            yield _AREA.note("vaults", "cannot be told without the database")
        return
    if not (sealing.recipients or found.keys or found.faults):
        return
    yield _private(settings, found, sealing)
    yield from _mode(settings)
    yield _recipients(sealing)
    if sealing.vaults:
        yield _vaults(sealing, KeyRing(lambda: found))


def _private(settings: Settings, found: key_files.Found, sealing: Sealing) -> Finding:
    mark = _AREA.error if sealing.vaults else _AREA.warning
    if found.faults:
        return mark("private key", "; ".join(found.faults), "vaults that only it opens are closed: put it right")
    servers = [each for each in sealing.recipients if each.is_active and each.role is RecipientRole.SERVER]
    if not found.keys:
        advice = "copy keys/ of another server; or `kelp keys init`, and `kelp keys import` of the recovery key"
        return mark("private key", f"there is none at {key_files.server_file(settings)}", advice)
    mine = found.keys[0].id
    if not any(each.key_id == mine for each in servers):
        advice = "`kelp keys init` registers it; if it is not this server's, put the right one there"
        return mark("private key", f"{mine}: no vault is wrapped for it", advice)
    return _AREA.ok("private key", mine)


def _mode(settings: Settings) -> Iterator[Finding]:
    file = key_files.server_file(settings)
    for each in (file, *key_files.kept(file)):
        with suppress(OSError):
            if not settings.vault.key and each.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                yield _AREA.warning("mode", f"others on this machine may use {each}", f"chmod 600 {each}")


def _recipients(sealing: Sealing) -> Finding:
    active = [each for each in sealing.recipients if each.is_active]
    fact = f"{len(active)} ({', '.join(each.role.value for each in active)})" if active else "none"
    if any(each.role is RecipientRole.RECOVERY for each in active):
        return _AREA.ok("recipients", fact)
    advice = "make a recovery key, add its public half (`kelp keys add-recipient`), and lay it into a safe"
    lost = "" if any(each.role is RecipientRole.ADMIN for each in active) else ": with the server's key, all is lost"
    return _AREA.warning("recipients", f"{fact}, none for recovery{lost}", advice)


def _vaults(sealing: Sealing, ring: KeyRing) -> Finding:
    closed, damaged = [], []
    for vault in sealing.vaults[:_MOST]:
        try:
            ring.open(vault)
        except KeyMissing:
            closed.append(vault)
        except ContentCorrupt:
            damaged.append(vault)
    total = f"{len(sealing.vaults)} vaults" if len(sealing.vaults) > 1 else "1 vault"
    if damaged:
        advice = "restore the database, or import another recipient's key (`kelp keys import`)"
        return _AREA.error("vaults", f"the wrapped key is damaged of {_named(damaged)}", advice)
    if closed:
        ids = sorted({each.key_id for vault in closed for each in vault.wrapped})
        advice = f"`kelp keys import` one of the keys {', '.join(ids)}" if ids else "nobody can open that any more"
        return _AREA.error("vaults", f"of {total} this server cannot open {_named(closed)}", advice)
    if sealing.behind:
        fact = f"{total}; {sealing.behind} to be wrapped for somebody who was added"
        return _AREA.warning("vaults", fact, "a running server does it in seconds")
    return _AREA.ok("vaults", f"{total}, open to this server")


def _named(vaults: list[ClosedVault]) -> str:
    more = f" and {len(vaults) - _NAMED} more" if len(vaults) > _NAMED else ""
    return ", ".join(vault.uuid for vault in vaults[:_NAMED]) + more
