"""Values about vaults that every room may use: who may open them, and their keys as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RecipientRole(StrEnum):
    SERVER = "server"  # serves the drive: opens vaults for those who may read
    ADMIN = "admin"  # a person
    RECOVERY = "recovery"  # lies in a safe, for when all else is lost


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key for which vaults' keys are wrapped."""

    id: int
    key_id: str
    role: RecipientRole
    label: str
    public_pem: str
    created_ns: int
    retired_ns: int | None  # since when nothing is wrapped for it any more; None: it is active
    vaults: int = 0  # whose keys are wrapped for it

    @property
    def is_active(self) -> bool:
        return self.retired_ns is None


@dataclass(frozen=True, slots=True)
class WrappedKey:
    key_id: str
    wrapped: str  # base64url


@dataclass(frozen=True, slots=True)
class ClosedVault:
    """What leads to a vault's key for who has a private key. `id`: the row; `uuid`: the vault's id in what is sealed.
    `version` grows with every change of its recipients."""

    id: int
    uuid: str
    generation: int
    version: int
    wrapped: tuple[WrappedKey, ...]
