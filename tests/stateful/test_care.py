"""Whatever the mirror, the cache and the NAS do, and whoever dies at it: each reachable content is whole somewhere.

KELP_CARE_EXAMPLES, KELP_CARE_STEPS: how many runs of how many steps.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from jobs import batches, mirror, outage
from tests import engines
from tests.mirror_drive import STAMP, Killed, MirrorDrive
from tests.stateful.care_machine import PART, OneAtWork
from vfs.errors import KelpError, NasDown, ObjectMissing
from vfs.model import Content
from vfs.operations import backlog, checking, evicting, incoming, mirroring, nas_copies, opening, versioning

_EXAMPLES = int(os.environ.get("KELP_CARE_EXAMPLES", "60"))
_STEPS = int(os.environ.get("KELP_CARE_STEPS", "40"))
_BREAKS = st.sampled_from(("down before", "down after", "dead before", "dead after"))

# What anybody can reach: contents of living rows, seen through their ancestors, and of kept versions; oldest first.
_REACHABLE = """WITH RECURSIVE alive(id) AS (
        SELECT id FROM entries WHERE parent_id IS NULL OR state = 'TRASHED'
        UNION SELECT e.id FROM entries e JOIN alive a ON e.parent_id = a.id WHERE e.state <> 'DELETED')
    SELECT id FROM contents WHERE id IN (
        SELECT e.content_id FROM entries e JOIN alive ON alive.id = e.id
        UNION SELECT v.content_id FROM versions v JOIN alive ON alive.id = v.entry_id WHERE v.state = 'kept')
    ORDER BY created_ns"""


class CareMachine(OneAtWork):
    away = False  # the NAS

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()  # what the cache no longer has, though nobody told Kelp

    # --- the mirror

    @rule(batch=st.sampled_from((1, 2, 32)), looks=st.integers(3, 12), turned=st.booleans())
    def mirror_some(self, batch: int, looks: int, turned: bool) -> None:
        """Until it has looked so often whether it is to stop: once for each batch, and for each entry of it."""
        left = iter(range(looks))
        if turned:
            self._turn_round()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mirror, "BATCH", batch)
            mirror.drain(self.kelp, "worker", stop=lambda: next(left, None) is None)

    def _turn_round(self) -> None:
        """The newest change is due first: what is carried when is of no importance."""
        now = self.drive.clock.now_ns()
        with self.kelp.database.write() as tx:
            for number, (id,) in enumerate(tx.all("SELECT id FROM sync_events WHERE status = 'PENDING' ORDER BY id")):
                tx.run("UPDATE sync_events SET scheduled_ns = :at WHERE id = :id", at=now - number * 1000, id=id)

    @rule()
    def all_is_on_the_nas_alone(self) -> None:
        """Everyday life of a drive whose cache is small, and where every loss would show."""
        self.the_nas_comes_back()
        self.drive.settle_down()
        evicting.evict(self.kelp, 1_000_000)

    @rule(calls=st.integers(1, 30), error=_BREAKS)
    def mirror_until_it_breaks(self, calls: int, error: str) -> None:
        if self.away:
            self.the_nas_comes_back()
        with self._breaking(calls, error):
            mirror.drain(self.kelp, "worker")
        mirroring.renew(self.kelp, "worker")

    @rule()
    def the_nas_is_looked_at(self) -> None:
        outage.probe(self.kelp)

    # --- the stores

    @precondition(lambda self: not self.away)
    @rule()
    def the_nas_goes(self) -> None:
        def away(method: str, arguments: tuple[Any, ...]) -> None:
            raise NasDown("it is away", "ESTALE")

        self.drive.nas.before, self.away = away, True

    @precondition(lambda self: self.away)
    @rule()
    def the_nas_comes_back(self) -> None:
        self.drive.nas.calm()
        self.away = False
        assert outage.probe(self.kelp)

    @rule(size=st.sampled_from((1, PART, 1000)))
    def evict(self, size: int) -> None:
        evicting.evict(self.kelp, size)

    @rule(calls=st.integers(1, 6), error=_BREAKS)
    def evict_until_it_breaks(self, calls: int, error: str) -> None:
        if not self.away:
            with self._breaking(calls, error):
                evicting.evict(self.kelp, 1000)

    @rule(data=st.data())
    def the_cache_loses_what_the_nas_has(self, data: st.DataObject) -> None:
        """A disk was changed, a bucket emptied in part; what only the cache has is never lost in this world."""
        on_nas = [each for each in self._reachable() if each.parts and self._recorded(each)]
        if on_nas and not self._is_unsettled():
            content = data.draw(st.sampled_from(on_nas))
            key = data.draw(st.sampled_from(content.parts)).key
            self.kelp.cache.delete(key)
            self.lost.add(key)

    def _breaking(self, calls: int, error: str) -> Any:
        return _Breaking(self.drive, calls, error)

    # --- time and processes

    @rule(seconds=st.sampled_from((0.1, 1, 6, 70, 700)))
    def time_passes(self, seconds: float) -> None:
        self.drive.clock.advance(seconds)
        assert self.kelp.background.wait(60)

    @rule()
    def clean_up(self) -> None:
        for batch in batches.BATCHES:
            try:
                batches.run(self.kelp, batch)
            except NasDown:
                assert self.away, batch.name
        mirroring.sweep(self.kelp)

    @rule()
    def restart(self) -> None:
        nas = self.drive.nas
        self.drive.close()
        self.drive = MirrorDrive(self.folder / "drive", clock=self.drive.clock, **self.settings)
        self.kelp = self.drive.kelp
        self.drive.nas.before = nas.before
        mirroring.expire_all(self.kelp)

    # --- what must hold

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def look_at_a_file(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(self.files()))
        found = self.read(path)
        if isinstance(found, KelpError):
            note(f"cannot be read: {found!r}")
            content_id = self.drive.entry("/".join(path)).content_id
            self._may_be_unreadable(str(content_id))
        else:
            assert found == self.tree[path]
        assert self.kelp.background.wait(60)

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def look_at_versions(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(self.files()))
        for version in versioning.list_versions(self.kelp, self.drive.caller, self.drive.entry("/".join(path)).id):
            try:
                b"".join(versioning.open_version(self.kelp, self.drive.caller, version.uuid).chunks())
            except KelpError as error:
                note(f"cannot be read: {error!r}")
                self._may_be_unreadable(version.content_id)

    def _may_be_unreadable(self, content_id: str) -> None:
        """Only what the cache has not, while the NAS is away or nobody has found out yet how far a dead worker came."""
        with self.kelp.database.read() as tx:
            content = tx.contents.get(content_id)
        assert content is not None
        assert not self._in_cache(content), "it is whole in the cache"
        assert self.away or self._is_unsettled(), "the NAS has it, and is there"

    @invariant()
    def every_reachable_content_is_whole_somewhere(self) -> None:
        """At a recorded place; while a job is to be settled, whose plan tells the place, anywhere on the NAS."""
        if not hasattr(self, "drive"):
            return
        anywhere = self._is_unsettled()
        for content in self._reachable():
            if not self._in_cache(content):
                there = self._checksums() if anywhere else self._recorded(content)
                assert content.checksum in there, f"{content} is whole nowhere"

    def _reachable(self) -> list[Content]:
        with self.kelp.database.read() as tx:
            found = [tx.contents.get(row[0]) for row in tx.all(_REACHABLE)]
        assert all(found)
        return [each for each in found if each]

    def _in_cache(self, content: Content) -> bool:
        """By its bytes, whatever the rows say."""
        try:
            return all(
                blake3(b"".join(self.kelp.cache.get(part.key))).hexdigest() == part.checksum for part in content.parts
            )
        except ObjectMissing:
            return False

    def _recorded(self, content: Content) -> set[str]:
        """Checksums of the files that are recorded to have it."""
        with self.kelp.database.read() as tx:
            copies = tx.verifying.copies(content.id)
        paths = [self.drive.root / copy.path for copy in copies]
        return {blake3(path.read_bytes()).hexdigest() for path in paths if path.is_file()}

    def _checksums(self) -> set[str]:
        files = (path for path in self.drive.root.rglob("*") if path.is_file())
        return {blake3(path.read_bytes()).hexdigest() for path in files}

    def _is_unsettled(self) -> bool:
        with self.kelp.database.read() as tx:
            return bool(tx.one("SELECT COUNT(*) FROM mirror_leases")[0])

    # --- the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "drive"):
                self._end()
        finally:
            if hasattr(self, "drive"):
                self.drive.close()
            engines.drop_below(self.folder)
            shutil.rmtree(self.folder)

    def _end(self) -> None:
        """The NAS is back; all comes there, nothing was held against anybody, and every byte can be read."""
        self.drive.nas.calm()
        assert outage.probe(self.kelp)
        assert [event for event in self.drive.events() if event[1] == "FAILED"] == []
        self.drive.clock.advance(70)
        self.drive.settle_down(rounds=200)
        assert {path: self.read(path) for path in self.files()} == {path: self.tree[path] for path in self.files()}
        assert self.kelp.background.wait(60)
        problems = checking.check(self.kelp, mirrored=True).problems
        assert [each for each in problems if each.subject not in self.lost] == []
        assert backlog.waiting(self.kelp) == 0
        found = self._plain_nas()
        if self.settings["drive_duplicates"] == "replace":
            assert found == sorted(("/".join(path), content) for path, content in self.tree.items())
        else:
            assert {("/".join(path), content) for path, content in self.tree.items()} <= set(found)
        assert not (self.drive.root / ".kelp" / "foreign").exists()

    def _plain_nas(self) -> list[tuple[str, bytes | None]]:
        """As people see it, without stamps."""
        raw = self.drive.raw_nas()
        found = [("/".join(STAMP.sub("", name) for name in path.split("/")), raw[path]) for path in raw]
        return sorted(found, key=lambda each: each[0])


class _Breaking:
    """Within the block the n-th call of the NAS fails, or kills who made it; then a new process cleans up."""

    def __init__(self, drive: MirrorDrive, calls: int, error: str) -> None:
        self._drive, self._left, self._error = drive, calls, error

    def __enter__(self) -> None:
        setattr(self._drive.nas, self._error.split()[1], self._strike)

    def _strike(self, method: str, arguments: tuple[Any, ...]) -> None:
        self._left -= 1
        if self._left < 0:
            raise NasDown("it does not answer", "EIO") if "down" in self._error else Killed

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self._drive.nas.calm()
        if kind is Killed:
            mirroring.expire_all(self._drive.kelp)
        return kind in (Killed, NasDown)


@pytest.fixture(scope="module", autouse=True)
def tiny_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("new") / "drive"
    MirrorDrive(folder).close()
    CareMachine.template = folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incoming, "PART_SIZE", PART)
        patch.setattr(opening, "SMALL", 0)  # what was read once would never be read again
        patch.setattr(nas_copies, "_PATIENCE", 0.0)  # nobody else is at work who could end a move
        patch.setattr(evicting, "_SLACK", 0.0)
        patch.setattr(evicting, "_THREADS", 1)  # or which of their calls is the n-th would be chance
        yield
    gc.collect()  # drives that were closed, and are held by each other's errors, end before the interpreter does


CareMachine.TestCase.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=_STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestCare = pytest.mark.timeout(0)(CareMachine.TestCase)
