"""Vaults: folders that seal what is in them, names and bytes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from http_api import entries, moves
from http_api.models import Body, Model
from http_api.moves import FolderId, NewName
from http_api.routing import Ask, Reply, Route
from vfs.model import Kind, Place
from vfs.operations import by_id, vaulting
from vfs.vault_model import RecipientRole


class NewVault(Body):
    name: NewName
    parent_id: FolderId = None


class Recipient(Model):
    key_id: str
    role: RecipientRole
    label: str


class Vault(Model):
    id: Annotated[str, Field(description="in all that is sealed, on the NAS too")]
    folder_id: str
    generation: Annotated[int, Field(description="of its key, from 1")]
    recipients: Annotated[list[Recipient], Field(description="whose private keys open it")]


class VaultAnswer(Model):
    success: Literal[True] = True
    vault: Vault


def make(ask: Ask) -> Reply:
    body = ask.body(NewVault)
    place = Place(by_id.folder(ask.kelp, ask.caller, body.parent_id).id, body.name)
    return Reply(entries.folder(ask.kelp, ask.caller, vaulting.create(ask.kelp, ask.caller, place)), 201)


def get(ask: Ask) -> Reply:
    folder = by_id.find(ask.kelp, ask.caller, ask.ids["id"], Kind.FOLDER)
    known = vaulting.info(ask.kelp, ask.caller, folder)
    recipients = [Recipient(key_id=each.key_id, role=each.role, label=each.label) for each in known.recipients]
    vault = Vault(id=known.uuid, folder_id=known.folder_uuid, generation=known.generation, recipients=recipients)
    return Reply(VaultAnswer(success=True, vault=vault))


ROUTES = (
    Route(
        *("POST", "/vaults", make, "Make an empty folder that seals what comes into it", "vaults"),
        noun="folder", body=NewVault, answer=entries.FolderAnswer, status=201,
        codes=("PARENT_FOLDER_NOT_FOUND", "INVALID_NAME", "CROSSES_VAULT", *moves.TAKEN, "LOCKED"),
    ),
    Route(
        *("GET", "/folders/{id}/vault", get, "The vault that a folder is, or lies in, and who can open it", "vaults"),
        noun="folder", answer=VaultAnswer, codes=("FOLDER_NOT_FOUND", "FILE_IN_TRASH", "INVALID_REQUEST"),
    ),
)  # fmt: skip
