"""SQL of the mirror's leases (design §5): who works on an entry, with which plan, and below which folders.

A lease that ran out still blocks its paths until its plan has been settled: what its holder had begun on the
NAS must be looked at before anything moves there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vfs.metadata.lists import listed

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


def _same(plan: str, _fence: int) -> str:
    return plan


class Taken(NamedTuple):
    """A lease that begins. `target`: the NAS name that its plan gives the entry, if it does (parent id, key). `shared`:
    the folders that stay where they are meanwhile."""

    fence: int
    entry_id: int
    plan: str
    target: tuple[int | None, str | None]
    shared: Sequence[int]


_INSERT = """INSERT INTO mirror_leases (id, entry_id, owner, expires_ns, plan, nas_parent_id, nas_key)
             VALUES (:id, :entry, :owner, :expires, :plan, :parent, :key)"""
_INSERT_PATH = "INSERT INTO path_leases (entry_id, lease_id, exclusive) VALUES (:e, :l, :x)"


class Leases:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def take(
        self,
        entry_id: int,
        owner: str,
        expires_ns: int,
        plan_for: Callable[[int], str],
        target: tuple[int | None, str | None] = (None, None),
    ) -> int:
        """Returns the fence, which the plan contains. The entry must have no lease, and nobody one with that target
        (parent id, NAS key)."""
        parent, key = target
        values = {"entry": entry_id, "owner": owner, "expires": expires_ns, "parent": parent, "key": key}
        fence = self._tx.new_id("mirror_leases") or self.upcoming()
        if fence is not None:
            self._tx.run(_INSERT, id=fence, plan=plan_for(fence), **values)
            return fence
        sql = """INSERT INTO mirror_leases (entry_id, owner, expires_ns, plan, nas_parent_id, nas_key)
                 VALUES (:entry, :owner, :expires, '[]', :parent, :key)"""
        fence = self._tx.insert(sql, **values)
        self._tx.run("UPDATE mirror_leases SET plan = :plan WHERE id = :id", id=fence, plan=plan_for(fence))
        return fence

    def upcoming(self) -> int | None:
        """The next fence; None where that is for a sequence to say."""
        if not self._tx.commits_in_order:
            return None
        row = self._tx.one("SELECT seq FROM sqlite_sequence WHERE name = 'mirror_leases'")
        return (row[0] if row else 0) + 1

    def take_all(self, every: Sequence[Taken], owner: str, expires_ns: int) -> None:
        """As `take` and `take_paths`, several whose fences are known and not below `upcoming`."""
        self._tx.many(
            _INSERT,
            [
                {"id": fence, "entry": entry_id, "owner": owner, "expires": expires_ns, "plan": plan}
                | {"parent": target[0], "key": target[1]}
                for fence, entry_id, plan, target, _ in every
            ],
        )
        self._tx.many(_INSERT_PATH, [{"e": id, "l": one.fence, "x": False} for one in every for id in one.shared])

    def heads_for(self, parent_id: int, nas_key: str) -> bool:
        """Somebody's plan, perhaps carried out and not recorded yet, puts an entry there."""
        sql = "SELECT 1 FROM mirror_leases WHERE nas_parent_id = :parent AND nas_key = :key"
        return self._tx.one(sql, parent=parent_id, key=nas_key) is not None

    def take_paths(self, fence: int, shared: Sequence[int], exclusive: Sequence[int]) -> None:
        rows: list[dict[str, object]] = [{"e": id, "l": fence, "x": False} for id in shared if id not in exclusive]
        rows += [{"e": id, "l": fence, "x": True} for id in exclusive]
        self._tx.many(_INSERT_PATH, rows)

    def blocked(self, shared: Sequence[int], exclusive: Sequence[int]) -> bool:
        """Someone moves one of `shared`, or works on or below one of `exclusive`."""
        clauses = []
        values: dict[str, object] = {}
        for prefix, ids, extra in (("s", shared, " AND exclusive"), ("x", exclusive, "")):
            if ids:
                marks, named = listed(ids, prefix)
                values |= named
                clauses.append(f"(entry_id IN ({marks}){extra})")
        if not clauses:
            return False
        sql = f"SELECT 1 FROM path_leases WHERE {' OR '.join(clauses)} LIMIT 1"
        return self._tx.one(sql, **values) is not None

    def held(self, entry_id: int) -> bool:
        return self._tx.one("SELECT 1 FROM mirror_leases WHERE entry_id = :id", id=entry_id) is not None

    def expires(self, fence: int) -> int | None:
        """For the fence check right before a step touches the tree; None when somebody else took over."""
        row = self._tx.one("SELECT expires_ns FROM mirror_leases WHERE id = :id", id=fence)
        return row[0] if row else None

    def expires_from(self, fence: int) -> dict[int, int]:
        """As `expires`, of this fence and some that were taken after it."""
        sql = "SELECT id, expires_ns FROM mirror_leases WHERE id >= :id ORDER BY id LIMIT 32"
        return dict(self._tx.all(sql, id=fence))

    def expiries(self, fences: Sequence[int]) -> dict[int, int]:
        """As `expires`, of several."""
        marks, values = listed(fences)
        return dict(self._tx.all(f"SELECT id, expires_ns FROM mirror_leases WHERE id IN ({marks})", **values))

    def any_of(self, owner: str) -> bool:
        """Leases that `renew` would renew."""
        sql = "SELECT 1 FROM mirror_leases WHERE owner = :owner AND expires_ns > 0 LIMIT 1"
        return self._tx.one(sql, owner=owner) is not None

    def renew(self, owner: str, expires_ns: int) -> None:
        """Not those that were given up (0): they wait to be settled, and their owner may live long."""
        sql = "UPDATE mirror_leases SET expires_ns = :to WHERE owner = :owner AND expires_ns > 0"
        self._tx.run(sql, owner=owner, to=expires_ns)

    def expire_all(self) -> None:
        """For the one process that runs the jobs of an embedded drive: whoever held leases before it is dead."""
        self._tx.run("UPDATE mirror_leases SET expires_ns = 0")

    def any_stale(self, now_ns: int, absurd_ns: int) -> bool:
        """There is something for `take_over`."""
        sql = "SELECT 1 FROM mirror_leases WHERE expires_ns <= :now OR expires_ns > :absurd LIMIT 1"
        return self._tx.one(sql, now=now_ns, absurd=absurd_ns) is not None

    def take_over(
        self, owner: str, now_ns: int, expires_ns: int, absurd_ns: int, limit: int
    ) -> list[tuple[int, int, str]]:
        """Expired leases pass to `owner` under new fences: (new fence, entry id, the old holder's plan).

        One that lies beyond `absurd_ns` was taken by a clock that was wrong, and would keep its entry for years.
        """
        rows = self._tx.all(
            """SELECT id, entry_id, plan, nas_parent_id, nas_key FROM mirror_leases
               WHERE expires_ns <= :now OR expires_ns > :absurd ORDER BY id LIMIT :limit""",
            now=now_ns,
            absurd=absurd_ns,
            limit=limit,
        )
        taken = []
        for old, entry_id, plan, *target in rows:
            paths = self._tx.all("SELECT entry_id, exclusive FROM path_leases WHERE lease_id = :id", id=old)
            self.release(old)
            fence = self.take(entry_id, owner, expires_ns, partial(_same, plan), (target[0], target[1]))
            self.take_paths(fence, [id for id, x in paths if not x], [id for id, x in paths if x])
            taken.append((fence, entry_id, plan))
        return taken

    def release(self, *fences: int) -> None:
        marks, values = listed(fences)
        self._tx.run(f"DELETE FROM mirror_leases WHERE id IN ({marks})", **values)

    def alive(self, fences: Sequence[int]) -> set[int]:
        """Those of them whose holder may still record what was done."""
        marks, values = listed(fences)
        sql = f"SELECT id FROM mirror_leases WHERE expires_ns > 0 AND id IN ({marks})"
        return {row[0] for row in self._tx.all(sql, **values)}

    def plans_with_versions(self) -> list[str]:
        """Of leases under which versions come, go or move."""
        return [row[0] for row in self._tx.all("""SELECT plan FROM mirror_leases WHERE plan LIKE '%"version"%'""")]

    def plans(self) -> dict[int, str]:
        """Fence → plan of every lease, also of those that wait to be settled."""
        return dict(self._tx.all("SELECT id, plan FROM mirror_leases"))
