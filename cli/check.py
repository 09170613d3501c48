"""`kelp check`: prove that database, cache and NAS agree."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli.display import err, show_json, show_rows
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.operations import checking


@click.command("check")
@click.option("--mirrored", is_flag=True, help="every change must be on the NAS already")
@click.option("--quick", is_flag=True, help="compare sizes, do not read contents")
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def check(kelp: Kelp, mirrored: bool, quick: bool, as_json: bool) -> None:
    """Look for anything that breaks a promise. Exit code 0 when clean, 1 when there are problems."""
    with err().status("checking ..."):  # on a terminal only
        report = checking.check(kelp, mirrored=mirrored, deep=not quick)
    if as_json:
        show_json({"ok": report.ok, **asdict(report)})
    else:
        rows = ((each.kind, each.subject, each.detail) for each in report.problems)
        show_rows(("problem", "where", "detail"), rows, empty="Clean: database, cache and NAS agree.")
    if not report.ok:
        raise click.exceptions.Exit(1)
