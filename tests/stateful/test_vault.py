"""Random work of two users inside a vault, against the same model as outside; the vault itself moves about."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests import engines
from tests.leaks import leaked
from tests.mirror_drive import MirrorDrive
from tests.stateful.drive_machine import LONG, NAMES
from tests.stateful.drive_model import Path
from tests.stateful.test_drive import DriveMachine
from tests.vaults import make_vault
from vfs import names
from vfs.errors import CrossesVault, InTrash, NotFound
from vfs.model import ROOT_ID, OnConflict, Place, Role
from vfs.operations import access, moving, reading, trashing

PROFILES = {"default": (25, 30), "thorough": (400, 50)}  # examples, steps of each
_EXAMPLES, _STEPS = PROFILES[os.environ.get("KELP_HYPOTHESIS_PROFILE", "default")]
_VAULTS = ("Tresor", "tresor 2")
_SECRETS = [LONG, "20260101000000__a"]  # nothing else is called so


class VaultMachine(DriveMachine):
    def __init__(self) -> None:
        super().__init__()
        self.vault = self.drive.entry("Tresor")
        self.above: Path = ("Tresor",)

    def entry_id(self, path: Path) -> int:
        found = reading.resolve(self.kelp, self.users[0], (*self.above, *path)).entry
        assert found is not None, path
        return found.id

    # --- the vault itself, and its border

    @rule(to=st.sampled_from(_VAULTS), deeper=st.booleans())
    def move_the_vault(self, to: str, deeper: bool) -> None:
        if self.model.locks:
            return
        target = Place(self.drive.entry("plain").id if deeper else ROOT_ID, to)
        moving.move(self.kelp, self.users[0], self._vault_place(), target, may_stay=True)
        self.above = ("plain", to) if deeper else (to,)

    def _vault_place(self) -> Place:
        return reading.stat(self.kelp, self.users[0], self.vault.id).place

    @precondition(lambda self: not self.model.locks)
    @rule()
    def trash_and_restore_the_vault(self) -> None:
        trashing.remove(self.kelp, self.users[0], self._vault_place())
        for entry_id in self.model.trash:
            with pytest.raises(InTrash):
                trashing.restore(self.kelp, self.users[0], self.uuid_of(entry_id))
        with pytest.raises(NotFound):
            reading.stat(self.kelp, self.users[0], self.vault.id)
        trashing.restore(self.kelp, self.users[0], self.vault.uuid)

    @precondition(lambda self: any(node.is_folder for node in self.model.tree.values()))
    @rule(data=st.data(), on=st.sampled_from((OnConflict.ERROR, OnConflict.OVERWRITE)))
    def no_folder_gets_out(self, data: st.DataObject, on: OnConflict) -> None:
        source = data.draw(st.sampled_from([path for path, node in self.model.tree.items() if node.is_folder]))
        with pytest.raises(CrossesVault):
            moving.move(self.kelp, self.users[0], self.place(source), Place(ROOT_ID, "out"), on_conflict=on)

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def no_folder_gets_in(self, data: st.DataObject, name: str) -> None:
        target = (*data.draw(st.sampled_from(self.model.folders())), names.key(name))
        with pytest.raises(CrossesVault):
            moving.move(self.kelp, self.users[0], Place(ROOT_ID, "folder"), self.place(target, name))

    # --- what must hold

    @invariant()
    def the_drive_shows_what_the_model_says(self) -> None:
        assert dict(self.drive._below("", self.vault.id)) == self.model.shown()

    def teardown(self) -> None:
        try:
            self.settle()
            assert leaked(self.kelp, _SECRETS) == []
        finally:
            self.drive.close()
            engines.drop_below(self.folder)
            shutil.rmtree(self.folder)


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("new") / "drive"
    drive = MirrorDrive(folder)
    access.add_user(drive.kelp, "editor", "correct horse", Role.EDITOR)
    make_vault(drive.kelp, "Tresor")
    drive.mkdir("folder")
    drive.mkdir("plain")
    drive.close()
    VaultMachine.template = folder


VaultMachine.TestCase.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=_STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestVault = pytest.mark.timeout(0)(VaultMachine.TestCase)
