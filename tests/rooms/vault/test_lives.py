"""What the NAS has of a vault after all that happens to a document, by a reader that has nothing of Kelp's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.rooms.core.drive import rest
from tests.rooms.crypto.independent_reader import read_vault
from tests.rooms.vault.drive import VAULT, VaultDrive
from vfs.crypto import key_files
from vfs.model import OnConflict
from vfs.operations import trashing, versioning


def on_nas(drive: VaultDrive) -> dict[str, bytes]:
    drive.mirror()
    key = load_pem_private_key(key_files.server_file(drive.kelp.settings).read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    found = read_vault(key, drive.nas / VAULT)
    assert (found.faults, drive.problems(mirrored=True)) == ([], [])
    return found.files


@pytest.mark.parametrize("duplicates", ["replace", "keep-dated"])
def test_a_document_lives(drive_with: Callable[..., VaultDrive], duplicates: str) -> None:
    drive = drive_with(drive_duplicates=duplicates)
    drive.folder("f")
    for data in (b"first", b"second", b"third"):
        drive.put("f/doc.txt", data)
        drive.clock.advance(30)
    drive.move("f/doc.txt", "f/renamed.txt")
    drive.move("f", "g")
    assert on_nas(drive) == {"g/renamed.txt": b"third"}
    drive.put("g/a save", b"fourth")
    drive.clock.advance(10)
    drive.move("g/a save", "g/renamed.txt", OnConflict.OVERWRITE)
    assert drive.versions("g/renamed.txt") == [b"third", b"second", b"first"]
    drive.remove("g/renamed.txt")
    drive.put("g/renamed.txt", b"fifth")
    assert on_nas(drive) == {"g/renamed.txt": b"fifth"}
    first = versioning.list_versions(drive.kelp, drive.admin, drive.entry("g/renamed.txt").id)[-1]
    versioning.restore_version(drive.kelp, drive.editor, first.uuid)
    drive.copy("g", "h")
    drive.put("h/empty", b"")
    drive.remove("g", rest(drive.editor))
    assert on_nas(drive) == {"h/renamed.txt": b"first", "h/empty": b""}
    trashing.restore(drive.kelp, drive.admin, drive.trash()[0].entry.uuid)
    drive.copy("g/renamed.txt", "h/empty", OnConflict.OVERWRITE)
    assert on_nas(drive) == dict.fromkeys(("g/renamed.txt", "h/renamed.txt", "h/empty"), b"first")
