"""The check of `kelp doctor` that goes the way of a client: through name, TLS and proxy into the drive and back."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

from cli import face_advice
from cli.address import Address, is_loopback
from cli.face_folder import Folder
from cli.face_probe import BrokenOff, Probe, Reply
from vfs.operations.diagnosing import Area, Check, ClockReading, Finding, Readings

_AREA = Area("face")
_SOON = 21.0  # days
_METHODS = frozenset("OPTIONS GET PUT PROPFIND PROPPATCH MKCOL DELETE COPY MOVE LOCK UNLOCK".split())


@dataclass(frozen=True, slots=True)
class Visit:
    """Where to go and as whom. `trusted`: a certificate that signed itself, for which the settings vouch.

    `is_expected`: somebody said that a server is there; else its absence is no fault.
    """

    address: Address
    login: tuple[str, str] | None
    trusted: Path | None
    is_expected: bool


def check_face(visit: Visit, readings: Readings) -> Check:
    return Check("face", partial(_check, visit, readings), face_advice.SILENT)


def _check(visit: Visit, readings: Readings) -> Iterator[Finding]:
    context = ssl.create_default_context() if visit.address.tls else None
    if context and visit.trusted:
        context.load_verify_locations(cafile=visit.trusted)
    probe = Probe(visit.address, context)
    try:
        certificate = probe.certificate()
    except ConnectionRefusedError as error:
        if visit.is_expected:
            yield _AREA.error("server", f"nobody listens at {visit.address.url}", face_advice.for_connection(error))
        else:
            yield _AREA.warning("server", f"none at {visit.address.url}", "`kelp serve` starts it; --url names another")
        return
    except OSError as error:
        said = getattr(error, "verify_message", "") or error.strerror or str(error)
        yield _AREA.error("server", f"{visit.address.url}: {said}", face_advice.for_connection(error))
        return
    try:
        yield from _greet(probe, visit, certificate, readings)
    except (OSError, BrokenOff) as error:
        yield _AREA.error("server", f"{visit.address.url}: {error}", face_advice.SILENT)


def _greet(probe: Probe, visit: Visit, certificate: dict[str, object], readings: Readings) -> Iterator[Finding]:
    begun = time.time()
    alive = probe.ask("GET", "/healthz")
    took = time.time() - begun
    if alive.status != 200:
        advice = face_advice.for_reply("GET", alive)
        yield _AREA.error("server", f"{visit.address.url} answers /healthz with {alive.status}", advice)
        return
    yield _AREA.ok("server", f"{visit.address.url}, answers in {took * 1000:.1f} ms")
    with suppress(ValueError):
        date = parsedate_to_datetime(alive.headers.get("date", "")).timestamp()
        readings.clocks.append(ClockReading("the server", date + 0.5 - begun - took / 2, 0.6 + took / 2))
    if certificate:
        yield _certificate(certificate, visit)
    yield _readiness(probe.ask("GET", "/readyz"))
    door = probe.ask("OPTIONS", "/dav/")
    if door.status != 401 or "basic" not in door.headers.get("www-authenticate", "").lower():
        advice = face_advice.for_reply("OPTIONS", door)
        yield _AREA.error("log-in", f"not asked for: OPTIONS without one is {door.status}, not 401", advice)
        return
    if not visit.login:
        yield _AREA.note("log-in", "asked for; the rest was not looked at", "--user NAME looks at it too")
        return
    yield from _inside(probe, visit, visit.login)


def _certificate(certificate: dict[str, object], visit: Visit) -> Finding:
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
    fact = f"for {visit.address.host}, {days:.0f} days left"
    if days < _SOON:
        return _AREA.warning("certificate", fact, "renew it")
    if visit.trusted:
        advice = "it signed itself: each client must be told to trust it"
        return _AREA.note("certificate", fact, advice)
    return _AREA.ok("certificate", f"{fact}, chain whole")


def _readiness(reply: Reply) -> Finding:
    try:
        said = json.loads(reply.body)
        fact = ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)
    except (ValueError, AttributeError):
        fact = f"status {reply.status}"
    if reply.status == 200:
        return _AREA.ok("ready", fact)
    if reply.status == 503:
        return _AREA.error("ready", fact, "what is away is told above, and in the log of `kelp serve`")
    return _AREA.error("ready", f"/readyz is {reply.status}", face_advice.for_reply("GET", reply))


def _inside(probe: Probe, visit: Visit, login: tuple[str, str]) -> Iterator[Finding]:
    probe.log_in(*login)
    reply = probe.ask("OPTIONS", "/dav/")
    if reply.status != 200:
        advice = face_advice.for_reply("OPTIONS", reply)
        yield _AREA.error("log-in", f"{login[0]} is refused with {reply.status}", advice)
        return
    if visit.address.tls or is_loopback(visit.address.host):
        yield _AREA.ok("log-in", f"{login[0]} is let in")
    else:
        yield _AREA.warning(
            "log-in", f"{login[0]} is let in, over plain http", "anybody on the way reads it: use https"
        )
    yield _options(reply)
    folder = Folder(probe)
    try:
        yield from folder.steps()
    finally:
        folder.remove()
    if folder.remains:
        yield _AREA.error("remove", f"{folder.remains}: {folder.path} is still there", f"delete {folder.name} by hand")


def _options(reply: Reply) -> Finding:
    classes = {word.strip() for word in reply.headers.get("dav", "").split(",")}
    allowed = {word.strip() for word in reply.headers.get("allow", "").split(",")}
    if not {"1", "2"} <= classes:
        fact = f"DAV: {reply.headers.get('dav') or 'missing'}"
        return _AREA.error("options", fact, "the proxy answers OPTIONS itself, or drops DAV: it must pass both")
    if missing := _METHODS - allowed:
        fact = f"Allow lacks {', '.join(sorted(missing))}"
        return _AREA.error("options", fact, "the proxy answers OPTIONS itself: it must pass it")
    return _AREA.ok("options", f"DAV: {reply.headers['dav']}")
