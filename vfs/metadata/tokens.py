"""SQL of tokens: what programs and devices log in with instead of the account's password."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vfs.model import Level, Role
from vfs.people import SCOPES, Bearer, Token, TokenKind

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_SELECT = """SELECT t.id, t.uuid, u.name, t.kind, t.name, t.scopes, t.created_ns, t.expires_ns, t.last_used_ns,
                    t.revoked_ns, t.user_id
             FROM tokens t JOIN users u ON u.id = t.user_id"""


def _most(scopes: str) -> Level:
    return max(SCOPES[scope] for scope in scopes.split())


def _token(row: Sequence[Any]) -> Token:
    return Token(row[0], row[1], row[2], TokenKind(row[3]), row[4], _most(row[5]), *row[6:10])


class Tokens:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def insert(self, user_id: int, token: Token, secret_hash: str) -> None:
        self._tx.run(
            """INSERT INTO tokens (uuid, user_id, kind, name, secret_hash, scopes, created_ns, expires_ns)
               VALUES (:uuid, :user, :kind, :name, :hash, :scopes, :created, :expires)""",
            uuid=token.uuid,
            user=user_id,
            kind=token.kind.value,
            name=token.name,
            hash=secret_hash,
            scopes=" ".join(token.scopes),
            created=token.created_ns,
            expires=token.expires_ns,
        )

    def stands_for(self, secret_hash: str) -> Bearer | None:
        """Also one that was revoked, or ran out."""
        row = self._tx.one(
            """SELECT t.id, t.kind, t.scopes, t.expires_ns, t.revoked_ns IS NOT NULL,
                      u.id, u.name_key, u.name, u.role, t.last_used_ns
               FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.secret_hash = :hash""",
            hash=secret_hash,
        )
        if row is None:
            return None
        return Bearer(
            row[0], TokenKind(row[1]), _most(row[2]), row[3], bool(row[4]), row[5], row[6], row[7], Role(row[8]),
            row[9],
        )  # fmt: skip

    def every(self, user_id: int | None = None) -> list[Token]:
        """Those that were not revoked, of one user or of all."""
        sql = f"""{_SELECT} WHERE t.revoked_ns IS NULL AND (CAST(:user AS BIGINT) IS NULL OR t.user_id = :user)
                  ORDER BY t.id"""
        return [_token(row) for row in self._tx.all(sql, user=user_id)]

    def by_uuid(self, uuid: str) -> tuple[Token, int] | None:
        """The token, and whose it is."""
        if not uuid.isprintable():  # PostgreSQL takes no NUL
            return None
        row = self._tx.one(f"{_SELECT} WHERE t.uuid = :uuid", uuid=uuid)
        return (_token(row), row[10]) if row else None

    def count(self, user_id: int, now_ns: int) -> int:
        """Those of a user that can still be used."""
        sql = """SELECT COUNT(*) FROM tokens
                 WHERE user_id = :user AND revoked_ns IS NULL AND (expires_ns IS NULL OR expires_ns > :now)"""
        return int(self._tx.one(sql, user=user_id, now=now_ns)[0])

    def ended_before(self, before_ns: int, limit: int) -> list[int]:
        """Those that were revoked, or ran out, before then."""
        sql = "SELECT id FROM tokens WHERE revoked_ns < :before OR expires_ns < :before ORDER BY id LIMIT :limit"
        return [row[0] for row in self._tx.all(sql, before=before_ns, limit=limit)]

    def forget(self, ids: Sequence[int]) -> None:
        self._tx.many("DELETE FROM tokens WHERE id = :id", [{"id": id} for id in ids])

    def revoke(self, uuid: str, now_ns: int) -> None:
        """For good; once is enough."""
        sql = "UPDATE tokens SET revoked_ns = :now WHERE uuid = :uuid AND revoked_ns IS NULL"
        self._tx.run(sql, uuid=uuid, now=now_ns)

    def used(self, times: Mapping[int, int]) -> None:
        """When tokens were last used, by id. Nothing that `Database.recall` may keep tells of it: a quiet change."""
        self._tx.many(
            """UPDATE tokens SET last_used_ns = :at
               WHERE id = :id AND (last_used_ns IS NULL OR last_used_ns < :at)""",
            [{"id": id, "at": at} for id, at in sorted(times.items())],
        )
