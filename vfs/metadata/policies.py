"""SQL of the policies about network addresses, and of their rules."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.addresses import AccessPolicy, AccessRule, PolicyKind

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_VERSION = "ip_policies"  # in `installation`: a new one with every change
_POLICY = "SELECT id, uuid, name, kind, enabled, created_ns FROM ip_access_policies"
_RULE = "SELECT policy_id, uuid, cidr, note, created_ns FROM ip_access_rules"


class Policies:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def version(self) -> str | None:
        """Another after every change; None as long as there was none."""
        return self._tx.accounts.value(_VERSION)

    def every(self) -> list[AccessPolicy]:
        """By name, each with its rules, oldest first."""
        rules: dict[int, list[AccessRule]] = {}
        for row in self._tx.all(f"{_RULE} ORDER BY id"):
            rules.setdefault(row[0], []).append(AccessRule(*row[1:]))
        return [_policy(row, rules.get(row[0], ())) for row in self._tx.all(f"{_POLICY} ORDER BY name")]

    def find(self, uuid: str) -> AccessPolicy | None:
        return self._one(self._tx.one(f"{_POLICY} WHERE uuid = :uuid", uuid=uuid))

    def named(self, name: str) -> AccessPolicy | None:
        return self._one(self._tx.one(f"{_POLICY} WHERE name = :name", name=name))

    def _one(self, row: Sequence[Any] | None) -> AccessPolicy | None:
        if row is None:
            return None
        found = self._tx.all(f"{_RULE} WHERE policy_id = :id ORDER BY id", id=row[0])
        return _policy(row, [AccessRule(*rule[1:]) for rule in found])

    def count(self) -> tuple[int, int]:
        """Policies, and rules of all of them."""
        sql = "SELECT (SELECT COUNT(*) FROM ip_access_policies), (SELECT COUNT(*) FROM ip_access_rules)"
        policies, rules = self._tx.one(sql)
        return int(policies), int(rules)

    # --- changes: each makes a new version ---

    def insert(self, name: str, kind: PolicyKind, enabled: bool, now_ns: int) -> str:
        """The new policy's uuid."""
        made = str(uuid.uuid4())
        self._tx.insert(
            """INSERT INTO ip_access_policies (uuid, name, kind, enabled, created_ns)
               VALUES (:uuid, :name, :kind, :enabled, :now)""",
            uuid=made, name=name, kind=kind.value, enabled=enabled, now=now_ns,
        )  # fmt: skip
        self._changed()
        return made

    def update(self, uuid: str, name: str, kind: PolicyKind, enabled: bool) -> None:
        sql = "UPDATE ip_access_policies SET name = :name, kind = :kind, enabled = :enabled WHERE uuid = :uuid"
        self._tx.run(sql, uuid=uuid, name=name, kind=kind.value, enabled=enabled)
        self._changed()

    def delete(self, uuid: str) -> None:
        """With its rules."""
        self._tx.run("DELETE FROM ip_access_policies WHERE uuid = :uuid", uuid=uuid)
        self._changed()

    def insert_rule(self, policy: str, cidr: str, note: str, now_ns: int) -> str:
        """The new rule's uuid."""
        made = str(uuid.uuid4())
        self._tx.insert(
            """INSERT INTO ip_access_rules (uuid, policy_id, cidr, note, created_ns)
               VALUES (:uuid, (SELECT id FROM ip_access_policies WHERE uuid = :policy), :cidr, :note, :now)""",
            uuid=made, cidr=cidr, note=note, now=now_ns, policy=policy,
        )  # fmt: skip
        self._changed()
        return made

    def update_rule(self, uuid: str, cidr: str, note: str) -> None:
        self._tx.run("UPDATE ip_access_rules SET cidr = :cidr, note = :note WHERE uuid = :uuid",
                     uuid=uuid, cidr=cidr, note=note)  # fmt: skip
        self._changed()

    def delete_rule(self, uuid: str) -> None:
        self._tx.run("DELETE FROM ip_access_rules WHERE uuid = :uuid", uuid=uuid)
        self._changed()

    def _changed(self) -> None:
        self._tx.accounts.set_value(_VERSION, str(uuid.uuid4()))


def _policy(row: Sequence[Any], rules: Sequence[AccessRule]) -> AccessPolicy:
    return AccessPolicy(row[1], row[2], PolicyKind(row[3]), bool(row[4]), row[5], tuple(rules))
