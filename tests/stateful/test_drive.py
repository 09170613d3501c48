"""Random work of two users against a model in memory, the mirror late, twice, in any order, with outages and deaths."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from jobs import batches, mirror, outage
from tests import engines
from tests.mirror_drive import STAMP, Killed, MirrorDrive
from tests.stateful.drive_machine import PeopleAtWork
from tests.stateful.drive_model import Path
from vfs import names
from vfs.errors import NasDown
from vfs.model import Role
from vfs.operations import access, backlog, mirroring, versioning

PROFILES = {"default": (40, 30), "thorough": (600, 50)}  # examples, steps of each
_EXAMPLES, _STEPS = PROFILES[os.environ.get("KELP_HYPOTHESIS_PROFILE", "default")]


class DriveMachine(PeopleAtWork):
    @rule(seconds=st.sampled_from((0.1, 1, 6, 70)))
    def time_passes(self, seconds: float) -> None:
        self.drive.clock.advance(seconds)

    @rule(batch=st.sampled_from((1, 2, 32)), rounds=st.integers(1, 4), seed=st.integers(0, 1000))
    def mirror_some(self, batch: int, rounds: int, seed: int) -> None:
        self._shuffle(random.Random(seed))
        left = iter(range(rounds))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mirror, "BATCH", batch)
            mirror.drain(self.kelp, "worker", stop=lambda: next(left, None) is None)

    def _shuffle(self, chance: random.Random) -> None:
        """The order in which changes are due is of no importance; nor is it that one is carried twice."""
        with self.kelp.database.write() as tx:
            for (id,) in tx.all("SELECT id FROM sync_events WHERE status = 'PENDING' AND NOT litter"):
                when = self.drive.clock.now_ns() - chance.randrange(10**9)
                tx.run("UPDATE sync_events SET scheduled_ns = :when WHERE id = :id", when=when, id=id)
            for (id,) in tx.all("SELECT id FROM sync_events WHERE status = 'DONE'"):
                if chance.random() < 0.1:
                    tx.run("UPDATE sync_events SET status = 'PENDING' WHERE id = :id", id=id)

    @rule(calls=st.integers(1, 30), error=st.sampled_from(("down before", "down after", "dead before", "dead after")))
    def mirror_until_it_breaks(self, calls: int, error: str) -> None:
        left = iter(range(calls))

        def strike(method: str, arguments: tuple[Any, ...]) -> None:
            if next(left, None) is None:
                raise NasDown("it does not answer", "EIO") if "down" in error else Killed

        setattr(self.drive.nas, error.split()[1], strike)
        try:
            mirror.drain(self.kelp, "worker")
        except Killed:
            mirroring.expire_all(self.kelp)
        mirroring.renew(self.kelp, "worker")
        self.drive.nas.calm()

    @rule()
    def the_nas_answers_again(self) -> None:
        assert outage.probe(self.kelp)

    @rule()
    def clean_up(self) -> None:
        batches.run_all(self.kelp)
        mirror.tidy(self.kelp)
        mirroring.sweep(self.kelp)

    # --- what must hold

    @invariant()
    def the_drive_shows_what_the_model_says(self) -> None:
        assert self.drive.shown() == self.model.shown()

    def settle(self) -> None:
        self.drive.nas.calm()
        assert outage.probe(self.kelp)
        backlog.retry_failed(self.kelp)
        self.drive.clock.advance(70)
        self.drive.settle_down(rounds=200)
        self.drive.check()

    def teardown(self) -> None:
        try:
            self.settle()
            assert self._nas() == ordered(self._expected())
            assert not (self.drive.root / ".kelp" / "foreign").exists()
        finally:
            self.drive.close()
            engines.drop_below(self.folder)
            shutil.rmtree(self.folder)

    def _expected(self) -> Iterable[tuple[Path, bytes | None]]:
        """Where registrations stay, the older ones of a file lie beside it; not those of litter."""
        with self.kelp.database.read() as tx:
            in_tree = {row[0] for row in tx.all("SELECT uuid FROM versions WHERE stamp IS NOT NULL")}
        for path, node in self.model.tree.items():
            yield path, node.content
            if node.content is not None:
                for version in versioning.list_versions(self.kelp, self.users[0], self.entry_id(path)):
                    if version.uuid in in_tree:
                        yield path, b"".join(versioning.open_version(self.kelp, self.users[0], version.uuid).chunks())

    def _nas(self) -> list[tuple[Path, bool, bytes]]:
        """What people see on the NAS, in the model's terms."""
        raw = self.drive.raw_nas()
        return ordered((tuple(map(_plain, path.split("/"))), content) for path, content in raw.items())


_PREFIXED = re.compile(r"^_(\d{14}__|\.trash$|\.kelp$)")


def _plain(nas_name: str) -> str:
    """The name on the drive: without stamp, or the prefix of names that look like Kelp's own."""
    return _PREFIXED.sub(r"\1", nas_name) if nas_name.startswith("_") else STAMP.sub("", nas_name)


def ordered(tree: Iterable[tuple[Path, bytes | None]]) -> list[tuple[Path, bool, bytes]]:
    """(path, is it a file, content). Of long names only the heads: what the NAS cuts off is tested elsewhere."""
    return sorted(
        (tuple(names.key(n)[:80] for n in path), content is not None, content or b"") for path, content in tree
    )


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("new") / "drive"
    drive = MirrorDrive(folder)
    access.add_user(drive.kelp, "editor", "correct horse", Role.EDITOR)
    drive.close()
    PeopleAtWork.template = folder


class DatedDriveMachine(DriveMachine):
    settings_of_drive: ClassVar[dict[str, object]] = {"drive_duplicates": "keep-dated"}


for machine in (DriveMachine, DatedDriveMachine):
    machine.TestCase.settings = settings(
        max_examples=_EXAMPLES,
        stateful_step_count=_STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
TestDrive = pytest.mark.timeout(0)(DriveMachine.TestCase)
TestDatedDrive = pytest.mark.timeout(0)(DatedDriveMachine.TestCase)
