"""A vault in a drive, for scenarios that play in one too; read back on the NAS by code that has nothing of Kelp's.

KELP_TEST_VAULT = 1    replays, crashes and mounts play in a vault, whole (`make test-vault`); else a share of them
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.rooms.crypto.independent_reader import read_vault
from vfs.core import Kelp
from vfs.crypto import key_files
from vfs.errors import AlreadyExists
from vfs.model import ROOT_ID, Entry, Place
from vfs.operations import access, server_keys, vaulting

FOLDER = "vault"  # at the top of the drive
ALL = os.environ.get("KELP_TEST_VAULT") == "1"


@functools.cache
def _pem() -> str:
    """That of the test vectors: making one takes a second."""
    file = Path(__file__).with_name("vectors") / "vault-1.json"
    return str(json.loads(file.read_text(encoding="utf-8"))["private_key"])


@functools.cache
def private_key() -> RSAPrivateKey:
    """Reading it takes a tenth of a second, in which its numbers are proved to be primes."""
    key = load_pem_private_key(_pem().encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def make_vault(kelp: Kelp, name: str = FOLDER, folder_id: int = ROOT_ID) -> Entry:
    """The server gets a key where it has none."""
    file = key_files.server_file(kelp.settings)
    if not file.exists():
        key_files.write_new(file, _pem().encode())
    with contextlib.suppress(AlreadyExists):
        server_keys.init(kelp)
    return vaulting.create(kelp, access.system_caller(kelp, "cli"), Place(folder_id, name))


def is_in(data: Path) -> bool:
    """Whether the drive with this data folder had one made here."""
    return (data / "keys" / "server.pem").exists()


def on_nas(nas: Path, name: str = FOLDER) -> dict[str, bytes | None]:
    """What is in the vault, path → bytes, None for a folder. Raises AssertionError for whatever is wrong there."""
    found = read_vault(private_key(), nas / name)
    assert not found.faults, found.faults
    return {**dict.fromkeys(found.folders), **found.files}
