"""`kelp doctor`: go the real path from end to end, and say in a line each what is there and what is to be done."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from cli.address import address_for
from cli.display import out, printable, say, show_json
from cli.drive import load_settings, log_option, place_options, set_up_log
from cli.face_checks import Visit, check_face
from cli.face_probe import parse_url
from vfs.crypto.certificates import CertificateFacts, read_facts
from vfs.errors import KelpError
from vfs.operations import diagnosing
from vfs.operations.diagnosing import Area, Check, Finding, Mark
from vfs.settings import Settings

_AREA = Area("settings")
_PASSWORD = "KELP_DOCTOR_PASSWORD"
_NO_SETTINGS = frozenset((_PASSWORD, "KELP_ADMIN_PASSWORD", "KELP_KEYS_PASSPHRASE"))
_COLOURS = {Mark.OK: "green", Mark.NOTE: "cyan", Mark.WARNING: "yellow", Mark.ERROR: "bold red"}

QueueCheck = Callable[[Settings], Check]


def make_command(check_queue: QueueCheck) -> click.Command:
    """The command, for the module that knows the jobs."""

    @click.command("doctor")
    @click.option("--url", metavar="URL", help="how clients reach the drive [server.public_url, or this machine]")
    @click.option("--user", metavar="NAME", help=f"try the drive as NAME; the password is asked for, or {_PASSWORD}")
    @click.option("--json", "as_json", is_flag=True, help="answer in JSON")
    @place_options
    @log_option("error")
    def doctor(
        config: Path | None, data: Path | None, nas: Path | None, log_level: str, as_json: bool, **face: Any
    ) -> None:
        """Try every part of the drive, and the way to it. Exit code 0 when all is well, 1 when something must be fixed.

        Nothing is changed, and what is written for the trial is removed.
        """
        set_up_log(log_level)
        settings = load_settings(config, data, nas)
        visit = _visit(settings, face["url"], face["user"])
        readings = diagnosing.Readings()
        checks = [Check("settings", lambda: _settings(settings, config))]
        checks += diagnosing.store_checks(settings, readings)
        checks += [check_queue(settings), check_face(visit, readings), *diagnosing.last_checks(settings, readings)]
        found = _collected(checks, as_json)
        if any(finding.mark is Mark.ERROR for finding in found):
            raise click.exceptions.Exit(1)

    return doctor


def _collected(checks: list[Check], as_json: bool) -> list[Finding]:
    """Every finding, shown as it comes; all at the end in JSON."""
    found = []
    with _ended_by_sigterm(), contextlib.closing(diagnosing.run(checks)) as findings:
        for finding in findings:
            found.append(finding)
            if not as_json:
                _show(finding)
    counts = {mark: sum(finding.mark is mark for finding in found) for mark in (Mark.ERROR, Mark.WARNING)}
    if as_json:
        numbers = {"errors": counts[Mark.ERROR], "warnings": counts[Mark.WARNING]}
        show_json({"ok": not counts[Mark.ERROR], **numbers, "findings": [asdict(finding) for finding in found]})
    elif sys.stdout.isatty():
        say("")
        say(_summary(counts[Mark.ERROR], counts[Mark.WARNING]))
    return found


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is like Ctrl-C: what is being tried is removed first."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(finding: Finding) -> None:
    """In columns on a terminal; elsewhere a line with tabs, as every list of Kelp is."""
    words = [printable(" ".join(word.split())) for word in (finding.fact, finding.advice)]
    if not sys.stdout.isatty():
        cells = (finding.mark, finding.area, finding.check, *words)
        sys.stdout.write("\t".join(cells).rstrip("\t") + "\n")
        sys.stdout.flush()
        return
    line = Text.assemble(
        (f"{finding.mark:<8}", _COLOURS[finding.mark]), f"{finding.area:<9} {finding.check:<14} {words[0]}"
    )
    if words[1]:
        line.append(f"\n{'':<8}{'':<9} → {words[1]}", style="bold" if finding.mark is Mark.ERROR else "")
    out().print(line)


def _summary(errors: int, warnings: int) -> str:
    if not errors and not warnings:
        return "All is well."
    said = [f"{errors} to fix"] if errors else []
    return ", ".join([*said, *([f"{warnings} to think about"] if warnings else [])]) + "."


def _settings(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """What is wrong in them was refused before; this is what nobody can refuse."""
    yield _AREA.ok("file", str(config.absolute()) if config else "none: defaults, environment and command line")
    if config and _holds_secret(settings) and config.stat().st_mode & stat.S_IROTH:
        yield _AREA.warning("secrets", f"everybody on this machine can read {config}", f"chmod o-r {config}")
    server = settings.server
    if server.public_url.startswith("https:") and not (server.tls_cert or server.trusted_proxies):
        fact = "server.public_url is https, and nobody is named who ends TLS"
        yield _AREA.warning(
            "proxy", fact, "set server.trusted_proxies to the proxy's address: else it is no https to Kelp"
        )
    known = {f"KELP_{s.name}_{f.name}".upper() for s in fields(settings) for f in _fields(getattr(settings, s.name))}
    strays = sorted(name for name in os.environ if name.startswith("KELP_") and name not in known)
    strays = [name for name in strays if name not in _NO_SETTINGS and name != "KELP_DATA"]
    if strays:
        yield _AREA.warning(
            "environment", f"no setting is called {', '.join(strays)}", "a typing error? it has no effect"
        )


def _fields(section: object) -> tuple[Any, ...]:
    return fields(section) if hasattr(section, "__dataclass_fields__") else ()  # type: ignore[arg-type]


def _holds_secret(settings: Settings) -> bool:
    urls = (settings.database.url, settings.queue.url)
    vault = settings.vault
    return bool(settings.cache.secret_key or vault.key or vault.passphrase) or any("@" in url for url in urls)


def _visit(settings: Settings, url: str | None, user: str | None) -> Visit:
    """Raises InvalidRequest for a URL that is none; the password is asked for here."""
    server = settings.server
    facts = _own_certificate(server.tls_cert)
    if named := url or server.public_url:
        address = parse_url(named)
    else:
        plain_anywhere = settings.auth.allow_plain_http
        address = address_for(server.host, server.port, facts, plain_anywhere=plain_anywhere)
    trusted = server.tls_cert if facts and facts.self_signed else None
    return Visit(address, (user, _password(user)) if user else None, trusted, bool(named))


def _own_certificate(file: Path | None) -> CertificateFacts | None:
    """One that cannot be read keeps `kelp serve` from starting, with a line that says so."""
    with contextlib.suppress(KelpError):
        return read_facts(file) if file else None
    return None


def _password(user: str) -> str:
    """Never an argument: `ps` shows those."""
    given = os.environ.get(_PASSWORD)
    if given:
        return given
    if not sys.stdin.isatty():
        raise click.UsageError(f"nobody can be asked for the password of {user}: put it into {_PASSWORD}")
    return str(click.prompt(f"Password for {user}", hide_input=True, err=True))
