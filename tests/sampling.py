"""Which variants of its parametrized tests a run takes: all, or with KELP_TEST_SHARE=N every N-th (`make test`).

A variant is one set of parameters. Embedded only the tests whose variants cost most are thinned; on other engines all
are, since each variant runs embedded, and what says nothing about engines is left out there. The choice is always the
same, at least one variant of each test is taken but of a few that cost what a hundred others do, and what was left out
is counted as deselected. What is random and goes on for a time, or does the same with ever more, does less of it then
(`usual`). `make test-all` takes everything.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

import pytest

from tests import engines

SHARE = int(os.environ.get("KELP_TEST_SHARE") or 1)
_T = TypeVar("_T")


def usual(whole: _T, in_a_share: _T) -> _T:
    """How long something random goes on, or how much of the same there is: less where a run takes a share."""
    return whole if SHARE <= 1 else in_a_share


_COSTLY = tuple(
    f"tests/{name}.py"
    for name in (
        *("crash/test_chosen_instants", "faces/api/test_races", "faces/api/test_rights", "faces/test_doctor"),
        *("faces/fuse/test_mounting", "faces/fuse/test_outages", "faces/fuse/test_real_work"),
        *("faces/fuse/test_rights_table", "faces/fuse/test_saves_and_builds"),
        *("faces/test_dump_and_move", "faces/test_metrics", "rooms/fuse/test_recovering"),
        *("faces/test_replay", "faces/test_stopping", "outages/test_nas_outages", "rooms/core/test_repairing"),
        *("rooms/core/test_scrubbing", "rooms/mirror/test_adopting", "rooms/mirror/test_kills"),
        *("rooms/mirror/test_only_copies", "rooms/mirror/test_recovering", "rooms/mirror/test_worker"),
        *("rooms/postgresql/test_faults", "rooms/postgresql/test_waiting", "rooms/test_cli", "rooms/test_doctor"),
        *("rooms/test_dump", "rooms/test_memory_of_reads", "rooms/test_part_uploads", "rooms/test_processes"),
        *("rooms/test_put_rollback", "rooms/test_s3_faults", "rooms/test_serve", "rooms/test_services"),
        *("rooms/vault/test_core_in_a_vault", "rooms/core/test_vault_rollbacks", "rooms/vault/test_crossing"),
        "rooms/vault/test_crossing_killed",
    )
)

_ALONE = (
    "tests/faces/test_bench.py::test_the_production_bench_runs_in_all_its_parts",  # takes a minute
    "tests/faces/api/test_archives.py::test_more_than_65535_entries",
    "tests/faces/fuse/test_long_open.py::test_it_is_not_freed",  # nor does this: it waits for two rounds of a batch
    *(f"tests/faces/fuse/test_links.py::test_{tool}" for tool in ("git", "rsync")),  # other files have more of them
)
# About HTTP or the kernel, with hardly a statement of its own; and what tests/crash kills on these engines elsewhere.
_ON_ANY_ENGINE = tuple(
    f"tests/{name}.py"
    for name in (
        *("crash/test_upload_kills", "faces/api/test_archives", "faces/api/test_browsers", "faces/api/test_downloads"),
        *("faces/api/test_policies", "faces/api/test_uploads", "faces/test_api"),
        *("faces/fuse/test_differential", "faces/fuse/test_divergences", "faces/fuse/test_full"),
        *("faces/fuse/test_killed", "faces/fuse/test_links", "faces/fuse/test_long_open"),
        *("faces/fuse/test_many_processes", "faces/fuse/test_mounting", "faces/fuse/test_posix"),
        *("faces/fuse/test_real_work", "faces/fuse/test_saves_and_builds", "faces/fuse/test_xattrs"),
        "faces/test_vault_key_away",
    )
)
_CASES_ON_ANY_ENGINE = (
    "tests/faces/fuse/test_names.py::test_a_listing_goes_on_while_names_come_and_go",
    "tests/faces/fuse/test_rights.py::test_mode_and_owner_hold_for_other_users_of_the_machine",
)


def left_out(items: Sequence[pytest.Item], share: int = SHARE) -> set[pytest.Item]:
    """Those that this run does not take."""
    if share <= 1:
        return set()
    gone = {item for item in items if item.nodeid in _ALONE}
    if engines.CHOSEN != engines.EMBEDDED:
        gone |= {item for item in items if item.nodeid.startswith(_ON_ANY_ENGINE + _CASES_ON_ANY_ENGINE)}
    variants: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if "[" in item.nodeid and (engines.CHOSEN != engines.EMBEDDED or item.nodeid.startswith(_COSTLY)):
            variants[item.nodeid.partition("[")[0]].append(item)
    for of_one in variants.values():
        ordered = sorted(of_one, key=lambda item: zlib.crc32(item.nodeid.encode()))
        gone.update(ordered[-(-len(ordered) // share) :])
    return gone
