"""`kelp vault recover`: a vault's names and contents, from its folder on the NAS and a private key alone; and
`kelp vault head`, which tells whether all of it was there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from cli import passphrases
from cli.display import complain, err, printable, say, size_in_words
from cli.drive import entry_at, log_option, on_drive, operator, set_up_log
from vfs.core import Kelp
from vfs.errors import ConfigurationError, InvalidRequest, KeyMissing, NoSpace
from vfs.operations import vault_heads
from vfs.operations.vault_recovery import vaults
from vfs.operations.vault_recovery.findings import Finding, Told
from vfs.operations.vault_recovery.recovering import Recovered, Wishes, recover

_FAULTS, _USAGE = 1, 2  # exit codes
_HEAD = re.compile("[0-9a-f]{64}")
_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_folder = click.Path(path_type=Path, exists=True, file_okay=False)


def _checked(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _HEAD.fullmatch(value.strip().lower()):
        raise click.BadParameter("a head is 64 hex digits")
    return value and value.strip().lower()


@click.command("recover")
@click.option("--key", "key_file", type=_file, required=True, metavar="FILE", help="private key, PEM")
@click.option(
    "--head", metavar="HEX", callback=_checked, help="what `kelp vault head` said last: tells what is missing"
)
@click.option("--vault-json", type=_file, metavar="FILE", help="a copy of vault.json, where that on the NAS is damaged")
@click.option(
    "--keep-damaged", is_flag=True, help="keep files that are not whole as NAME.damaged, with zeros for losses"
)
@click.option("--trash", is_flag=True, help="what lies in the trash of the NAS too; NASDIR is its root")
@click.option("--versions", is_flag=True, help="older versions too; NASDIR is the NAS' root")
@log_option("warning")
@click.argument("nasdir", type=_folder)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def recover_(
    key_file: Path,
    head: str | None,
    vault_json: Path | None,
    keep_damaged: bool,
    trash: bool,
    versions: bool,
    log_level: str,
    nasdir: Path,
    out: Path,
) -> None:
    """Restore the vault in NASDIR, or all vaults below it, into the folder OUT.

    It needs the private key of one of the vault's recipients, and nothing else: no drive, database or settings; NASDIR
    may be a copy on any machine, and is only read. Nothing in OUT is overwritten. A locked key's passphrase is asked
    for, or comes from KELP_KEYS_PASSPHRASE. When it was interrupted, run it again: it goes on.

    Exit code 0: all was whole. 1: something was not, and is listed; what was whole is restored. 2: the key does not
    open it, or there is no vault.
    """
    set_up_log(log_level)
    try:
        keys = vaults.read_keys(key_file, _passphrase(key_file))
        with _telling() as told:
            found = recover(nasdir, out, keys, told, Wishes(vault_json, keep_damaged, trash, versions))
    except (ConfigurationError, InvalidRequest, KeyMissing) as error:
        complain(str(error))
        raise click.exceptions.Exit(_USAGE) from error
    except NoSpace as error:
        complain(f"{error}; what was done stays: make room and run it again")
        raise click.exceptions.Exit(_FAULTS) from error
    _sum_up(told)
    as_expected = _show_heads(found, head)
    if told.tally.faults or not as_expected:
        raise click.exceptions.Exit(_FAULTS)


@click.command("head")
@click.argument("path")
@on_drive
def head(kelp: Kelp, path: str) -> None:
    """Show the head of the vault PATH: 64 digits that stand for all that is in it now.

    Keep it apart from the NAS, with the time: `kelp vault recover --head` tells by it whether anything is missing, or
    was put back as it was earlier. It changes with each change in the vault; the NAS has come to the same when
    `kelp sync wait` is through.
    """
    entry = entry_at(kelp, operator(kelp), path)
    if entry.vault_id is None:
        raise InvalidRequest(f"{path or '/'} is in no vault")
    say(vault_heads.head(kelp, entry.vault_id))


def _passphrase(file: Path) -> str | None:
    return passphrases.asked(f"Passphrase of {file}", passphrases.OF_A_FILE) if vaults.needs_passphrase(file) else None


@contextmanager
def _telling() -> Iterator[Told]:
    """Findings as they come; on a terminal, how far it is."""
    console = err()
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking", total=None)

        def show(files: int, size: int) -> None:
            progress.update(task, description=f"{files} files, {size_in_words(size)}")

        yield Told(_tell, show)


def _tell(finding: Finding) -> None:
    path = finding.path if finding.is_there or not finding.path else f"left out: {finding.path}"
    say(f"{finding.where or '.'}: {finding.what}" + (f" ({path})" if path else ""))


def _sum_up(told: Told) -> None:
    tally = told.tally
    counts = f"files {tally.files}, folders {tally.folders}"
    say(f"restored: {counts}, {size_in_words(tally.bytes)}")
    if tally.there:
        say(f"files that were there already: {tally.there}")
    if tally.older:
        say(f"older versions left out: {tally.older}")
    say(f"faults: {tally.faults}" if tally.faults else "all was whole")


def _show_heads(found: list[Recovered], expected: str | None) -> bool:
    """Whether nothing else was expected."""
    for each in found:
        say(f"head {each.head}  {printable(each.at)}".rstrip())
    if expected is None:
        say("An older state that somebody put back cannot be told from the NAS alone: compare the head (--head).")
        return True
    if len(found) > 1:
        say("--head is that of one vault, and several were found: name its folder.")
        return False
    if any(each.head == expected for each in found):
        say("It is the head that was expected: nothing was put back, nothing is missing, nothing is more.")
        return True
    say(f"It is not the head that was expected, {expected}: something was put back, is missing, or is more.")
    return False
