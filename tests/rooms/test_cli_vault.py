"""`kelp vault create` and `kelp vault info`."""

from __future__ import annotations

from tests.rooms.test_cli import Run, drive, run
from vfs.core import Kelp
from vfs.model import ROOT_ID, Place
from vfs.operations import access, folders, reading

__all__ = ["drive", "run"]


def test_make_a_vault_and_look_at_it(run: Run, drive: Kelp) -> None:
    refused = run("vault", "create", "/Tresor")
    assert refused.code == 1 and "kelp keys init" in refused.err
    assert run("keys", "init").code == 0
    made = run("vault", "create", "/Tresor")
    assert made.code == 0 and "kelp keys add-recipient" in made.out
    caller = access.system_caller(drive, "cli")
    vault = reading.resolve(drive, caller, ["Tresor"]).entry
    assert vault is not None and vault.is_vault
    folders.make_folder(drive, caller, Place(vault.id, "inner"))
    told = run("vault", "info", "/Tresor/inner")
    assert told.code == 0 and "/Tresor" in told.out and "server" in told.out
    for path in ("/Tresor", "/Tresor/x", "/missing/x"):
        assert run("vault", "create", path).code == 1, path
    folders.make_folder(drive, caller, Place(ROOT_ID, "plain"))
    assert run("vault", "info", "/plain").code == 1


def test_the_drive_itself_is_no_vault(run: Run, drive: Kelp) -> None:
    assert run("keys", "init").code == 0
    for command in ("create", "info", "head"):
        for path in ("", "/", "//"):
            refused = run("vault", command, path)
            assert (refused.code, refused.out) == (1, ""), command
            assert refused.err.count("\n") == 1 and "no vault" in refused.err.replace("cannot be a", "no"), refused.err
