"""A vault that was deleted for good: nothing of it stays, and nothing waits for it."""

from __future__ import annotations

from tests.rooms.core.drive import rest
from tests.rooms.core.key_pairs_made import pair
from tests.rooms.vault.drive import VAULT, VaultDrive, close
from tests.vaults import make_vault
from vfs.model import ROOT_ID, Place
from vfs.operations import purging, reading, recipients, rewrapping, trashing, writing
from vfs.vault_model import RecipientRole


def purge(drive: VaultDrive, name: str = VAULT) -> None:
    caller = rest(drive.admin)
    found = reading.resolve(drive.kelp, caller, [name]).entry
    assert found is not None
    trashing.remove(drive.kelp, caller, Place(ROOT_ID, name))
    trashing.purge(drive.kelp, caller, found.uuid)


def test_what_lies_in_the_trash_of_it_goes_with_it(drive: VaultDrive) -> None:
    """Into no other vault could it come back, and into no plain folder. It takes no key."""
    drive.folder("f")
    for name in ("f/a", "b"):
        drive.put(name, b"some")
        drive.remove(name, rest(drive.editor))
    drive.remove("f", rest(drive.admin))
    other = make_vault(drive.kelp, "other")
    kept = Place(other.id, "kept")
    trashing.remove(drive.kelp, rest(drive.admin), _made(drive, kept))
    drive.mirror()
    assert len(drive.trash()) == 4 and len(list(drive.nas.glob(".trash/*"))) == 4
    close(drive.kelp)
    purge(drive)
    assert purging.spread_deletion(drive.kelp).count >= 3
    drive.mirror()
    assert len(drive.trash()) == 1 and len(list(drive.nas.glob(".trash/*/*"))) == 1
    assert drive.problems(mirrored=True) == []


def _made(drive: VaultDrive, place: Place) -> Place:
    writing.put_file(drive.kelp, drive.editor, place, [b"some"])
    return place


def test_it_is_wrapped_for_nobody_any_more(drive: VaultDrive) -> None:
    make_vault(drive.kelp, "other")
    purge(drive)
    recipients.add(drive.kelp, pair("c").public.pem.encode(), RecipientRole.RECOVERY, "")
    assert [(each.recipient.vaults, each.waiting) for each in recipients.every(drive.kelp)] == [(1, 0), (0, 1)]
    assert rewrapping.run(drive.kelp).count == 1
    assert [(each.recipient.vaults, each.waiting) for each in recipients.every(drive.kelp)] == [(1, 0), (1, 0)]
    assert rewrapping.run(drive.kelp).count == 0


def test_it_keeps_no_recipient(drive: VaultDrive) -> None:
    purge(drive)
    server = recipients.every(drive.kelp)[0].recipient
    recipients.remove(drive.kelp, server.key_id)
    assert drive.problems() == []
