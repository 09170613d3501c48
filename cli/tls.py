"""`kelp tls`: a certificate for a first try."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from cli.address import names_of_this_machine
from cli.display import say
from cli.drive import load_settings, place_options
from vfs.crypto import certificates


@click.group("tls")
def tls() -> None:
    """Certificates for https."""


@tls.command("self-signed")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="name or address of this server; may be repeated")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="where to write [tls in the data folder]")
@click.option("--force", is_flag=True, help="replace a certificate that is there")
@place_options
def self_signed(
    hosts: tuple[str, ...], out: Path | None, force: bool, config: Path | None, data: Path | None, nas: Path | None
) -> None:
    """Make a certificate that signs itself, for this machine's names or those given.

    Clients trust it once kelp.crt is imported on them. kelp.key stays here, and secret.
    """
    folder = out or load_settings(config, data, nas).data / "tls"
    names = hosts or names_of_this_machine()
    cert, key = certificates.write_self_signed(names, folder, datetime.now(UTC), replace=force)
    say(f"certificate  {cert}")
    say(f"key          {key}")
    say(f"for          {', '.join(names)}")
    say(f"start with   kelp serve --tls-cert {cert} --tls-key {key}")
