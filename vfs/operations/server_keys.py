"""The private key of the server: made, replaced by a new one, taken out locked, and put back.

The file comes first and the row second: who is killed between leaves a key that no row knows yet, which the same
command finds and completes. The other way round, vaults might be wrapped for a key that nobody has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vfs.core import Kelp
from vfs.crypto import key_files, key_pairs
from vfs.crypto.key_pairs import PrivateKey
from vfs.errors import AlreadyExists, InvalidRequest, KeyMissing, NotFound
from vfs.operations import recipients
from vfs.vault_model import Recipient, RecipientRole

_FROM_ENVIRONMENT = "the private key comes from vault.key"


@dataclass(frozen=True, slots=True)
class Made:
    """`file`: where the private key is; None: in vault.key. `is_new`: it was made now; else it was there, and is
    registered now."""

    key_id: str
    file: Path | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class Rotated:
    """`kept`: the file of the key before, None when this completed a rotation that was interrupted."""

    key_id: str
    file: Path
    kept: Path | None
    before: tuple[Recipient, ...]


def init(kelp: Kelp, label: str = "", bits: int = key_pairs.DEFAULT_BITS, passphrase: str | None = None) -> Made:
    """Make the server's pair and register it. Nothing is ever overwritten: a key that is there is only registered.

    `passphrase`: locks the file; default: that of the settings. Raises AlreadyExists when it is registered already,
    InvalidRequest (bits, label, a file that is no key), ConfigurationError.
    """
    recipients.check_label(label)
    with key_files.alone(kelp.settings):
        made = _init(kelp, label, bits, passphrase)
    kelp.keys.ids()  # it looks again
    return made


def _init(kelp: Kelp, label: str, bits: int, passphrase: str | None) -> Made:
    file = None if kelp.settings.vault.key else key_files.server_file(kelp.settings)
    is_new = file is not None and not file.exists()
    if is_new and file is not None:
        pair = key_pairs.generate(bits)
        locked_by = passphrase or key_files.passphrase_of(kelp.settings.vault)
        key_files.write_new(file, key_pairs.write_private(pair, locked_by))
    else:
        pair = _in_use(kelp)
    known = recipients.find(kelp, pair.id)
    if known is not None and known.is_active:
        raise AlreadyExists(f"there is a server key already: {pair.id}{f' in {file}' if file else ''}")
    recipients.add(kelp, pair.public.pem.encode(), RecipientRole.SERVER, label)
    return Made(pair.id, file, is_new)


def rotate(kelp: Kelp, bits: int = key_pairs.DEFAULT_BITS) -> Rotated:
    """A new key in the place of the server's; a batch wraps the vaults for it, and both open them until then.

    Raises InvalidRequest for a key that is not in a file, NotFound when there is none, ConfigurationError, KeyMissing.
    """
    if kelp.settings.vault.key:
        raise InvalidRequest(
            f"{_FROM_ENVIRONMENT}: put a new key in front of it there, restart, run `kelp keys init`, and remove the "
            "old one when `kelp keys list` shows that no vault waits"
        )
    with key_files.alone(kelp.settings):
        rotated = _rotate(kelp, bits)
    kelp.keys.ids()
    return rotated


def _rotate(kelp: Kelp, bits: int) -> Rotated:
    file = key_files.server_file(kelp.settings)
    pair = _in_use(kelp)
    known, here = recipients.find(kelp, pair.id), set(kelp.keys.ids())
    if known is None:  # somebody was killed before he could register it
        return Rotated(pair.id, file, None, tuple(recipients.succeed(kelp, pair.public, here)))
    fresh = key_pairs.generate(bits)
    now = datetime.fromtimestamp(kelp.clock.now_ns() / 1e9, UTC)
    pem = key_pairs.write_private(fresh, key_files.passphrase_of(kelp.settings.vault))
    kept = key_files.replace(file, pem, now)
    return Rotated(fresh.id, file, kept, tuple(recipients.succeed(kelp, fresh.public, here)))


def export(kelp: Kelp, passphrase: str, file: Path) -> str:
    """Write the private key in use to a new file, locked. Its id.

    Raises InvalidRequest (a short passphrase), AlreadyExists, KeyMissing, ConfigurationError.
    """
    pair = _in_use(kelp)
    key_files.write_new(file, key_pairs.write_private(pair, passphrase))
    return pair.id


def locked(file: Path) -> bool:
    """Whether a file to be imported needs a passphrase. Raises ConfigurationError."""
    return key_pairs.is_locked(key_files.read(file))


def import_(kelp: Kelp, source: Path, passphrase: str | None) -> Made:
    """Put a private key where this server finds it: as its own when there is none, else beside that one.

    Raises InvalidRequest (no key, another passphrase, one for which nothing is wrapped beside one that is there),
    AlreadyExists when this server has it, ConfigurationError.
    """
    if kelp.settings.vault.key:
        raise InvalidRequest(f"{_FROM_ENVIRONMENT}: add this one there")
    (pair, *more) = key_pairs.read_private(key_files.read(source), passphrase)
    if more:
        raise InvalidRequest(f"there are several keys in {source}")
    if pair.id in kelp.keys.ids():
        raise AlreadyExists(f"this server has {pair.id} already")
    with key_files.alone(kelp.settings):
        made = _put(kelp, pair)
    kelp.keys.ids()
    return made


def _put(kelp: Kelp, pair: PrivateKey) -> Made:
    pem = key_pairs.write_private(pair, key_files.passphrase_of(kelp.settings.vault))
    file = key_files.server_file(kelp.settings)
    known = recipients.find(kelp, pair.id)
    if not file.exists():
        key_files.write_new(file, pem)
        if known is None:
            recipients.add(kelp, pair.public.pem.encode(), RecipientRole.SERVER, "")
        return Made(pair.id, file, known is None)
    if known is None:
        raise InvalidRequest(f"nothing is wrapped for {pair.id}, and there is a server key already: {file}")
    now = datetime.fromtimestamp(kelp.clock.now_ns() / 1e9, UTC)
    return Made(pair.id, key_files.write_beside(file, pem, now), is_new=False)


def _in_use(kelp: Kelp) -> PrivateKey:
    """Raises KeyMissing, NotFound."""
    found = key_files.in_use(kelp.settings)
    if isinstance(found, PrivateKey):
        return found
    if found:
        raise KeyMissing(found)
    raise NotFound("there is no server key yet: `kelp keys init` makes one")
