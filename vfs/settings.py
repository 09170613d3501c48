"""Settings: read once, from a TOML file, the environment and the command line, then frozen.

Each value has a place in the file (`[section] name = …`), the same as `KELP_SECTION_NAME` in the
environment (`KELP_NAS_ROOT`, `KELP_SERVER_PORT`), and the command line wins (design §10). No other module
reads the environment.
"""

from __future__ import annotations

import functools
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from vfs.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes, or a share of a disk: "500 GiB", "20 GB", "1048576", "70 %", "none"; "": the default."""

    bytes: int | None = None
    percent: float | None = None
    unlimited: bool = False

    @classmethod
    def parse(cls, value: object) -> Amount:
        """Raises ValueError."""
        text = str(value).strip()
        if not text or text.lower() == "none":
            return cls(unlimited=bool(text))
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|(?:[kKMGTP](?:i?B)?|B)?)", text)
        if found is None:
            raise ValueError(text)
        number, unit = float(found[1]), found[2]
        if unit == "%":
            if not 0 < number <= 100:
                raise ValueError(text)
            return cls(percent=number)
        base = 1000 if unit.endswith("B") and "i" not in unit else 1024
        return cls(bytes=int(number * base ** (" KMGTP".index(unit[0].upper()) if unit.rstrip("B") else 0)))

    @property
    def is_default(self) -> bool:
        return self == Amount()

    def of(self, total: int) -> int | None:
        """Bytes, on a disk of `total`; None: no limit."""
        if self.percent is not None:
            return int(total * self.percent / 100)
        return self.bytes


@dataclass(frozen=True, slots=True)
class Server:
    host: str = "127.0.0.1"
    port: int = 8080
    processes: int = 0  # 0: one with SQLite, one per core with PostgreSQL
    threads: int = 16
    tls_cert: Path | None = None
    tls_key: Path | None = None
    public_url: str = ""  # how clients reach the drive, when a proxy or a balancer is in front of it
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose X-Forwarded-For and -Proto count (spec §10)


@dataclass(frozen=True, slots=True)
class Auth:
    allow_plain_http: bool = False  # Basic over plain HTTP from other machines (spec §10)
    remember_seconds: int = 300  # a verified password is not hashed again for so long


@dataclass(frozen=True, slots=True)
class Dav:
    quirks: bool = True  # what some clients need to be answered differently (dav_provider/quirks.py)
    no_quota_for: tuple[str, ...] = ()  # parts of the User-Agent of further clients that fail when told the free space


@dataclass(frozen=True, slots=True)
class Fuse:
    timeout: float = 60.0  # seconds for which the kernel may keep names and attributes; it is told what others change
    patience: float = 30.0  # seconds after which a call that nobody answers ends with an error (not with -o hard)
    threads: int = 8  # calls of the kernel that are worked on at a time
    draft_limit: int = 0  # bytes of the data folder's disk for what is written and not yet closed; 0: as it has room


@dataclass(frozen=True, slots=True)
class Database:
    url: str = ""  # empty: SQLite in the data folder; postgresql://user:password@host/name
    connections: int = 20  # of one process to PostgreSQL, at most
    timeout: float = 5.0  # seconds to wait for a connection before the answer is 503


@dataclass(frozen=True, slots=True)
class Cache:
    url: str = ""  # empty: a folder in the data folder; s3://BUCKET?endpoint=URL[&region=…&prefix=…]
    access_key: str = ""
    secret_key: str = ""
    public_endpoint: str = ""  # how clients reach the S3 endpoint, to send parts there; empty: as this server does
    timeout: float = 6.0  # seconds without a byte from the S3 endpoint after which it counts as away
    reserve: int = 64 * 1024 * 1024  # bytes of the cache's disk that uploads may not take
    limit: Amount = Amount()  # of what the NAS has too [70 % of the cache's disk; S3: none]
    hard_limit: Amount = Amount()  # of what only the cache has; then writes get 507 [90 % of the disk; S3: none]
    policy: str = "lru"  # what goes first: lru (unread for longest), lfu (least read), fifo (longest in the cache)
    publish: float = 0.1  # seconds between two notes, in the database, of what is being read
    lease: float = 30.0  # seconds for which such a note holds


@dataclass(frozen=True, slots=True)
class Queue:
    url: str = ""  # empty: in the serving process; redis://[:password@]host[:port]/number
    name: str = "kelp"  # of the queue on that server, when several drives share it
    sweep: float = 5.0  # seconds between two looks of a worker for changes that nobody queued


@dataclass(frozen=True, slots=True)
class Nas:
    root: Path = Path()
    refused: str = ""  # characters the NAS cannot store in a name; written as %XX there
    reserve: int = 256 * 1024 * 1024  # bytes of the NAS that stay free: before, writes get 507
    health: float = 60.0  # seconds between two timed writes of a small file
    slow: float = 2.0  # seconds that such a write may take before the NAS counts as slow


@dataclass(frozen=True, slots=True)
class Drive:
    case_sensitive: bool = True
    duplicates: str = "replace"  # an overwrite keeps a version; keep-dated: each registration stays a file on the NAS


@dataclass(frozen=True, slots=True)
class Upload:
    multipart_threshold: int = 100 * 1024 * 1024  # bytes of a file that REST takes in one request; more comes in parts
    part_limit: int = 1024 * 1024 * 1024  # bytes of one part


@dataclass(frozen=True, slots=True)
class Mirror:
    delay: float = 60.0  # seconds that litter lives before it is carried to the NAS (spec §5)
    retries: tuple[float, ...] = (5.0, 10.0, 20.0)  # seconds before each further try
    workers: int = 2
    lease: float = 30.0  # seconds a job may be silent before another takes over
    probe: float = 5.0  # seconds between two looks at the NAS, and between two tries of one that is down
    stall: float = 14.0  # seconds without progress after which the NAS counts as down
    sweep: float = 1.0  # seconds between two looks for changes that nobody queued


@dataclass(frozen=True, slots=True)
class Versions:
    keep_count: int = 10
    keep_days: int = 30


@dataclass(frozen=True, slots=True)
class Trash:
    keep_days: int = 30


@dataclass(frozen=True, slots=True)
class History:
    keep_days: int = 365  # who did what when
    events_days: int = 30  # changes that were carried to the NAS


@dataclass(frozen=True, slots=True)
class Alerts:
    webhook: str = ""  # URL that gets each alert's beginning and end as JSON
    mail_to: tuple[str, ...] = ()
    mail_from: str = ""
    smtp: str = ""  # smtp://[user:password@]host[:port], smtps://…; STARTTLS is used where it is offered


@dataclass(frozen=True, slots=True)
class Scrub:
    rate: int = 16 * 1024 * 1024  # bytes per second that are read again to verify them; 0: never
    days: int = 30  # after which everything was verified once, where the rate allows it


@dataclass(frozen=True, slots=True)
class Log:
    format: str = "text"  # or json: one object a line


@dataclass(frozen=True, slots=True)
class Telemetry:
    endpoint: str = ""  # of an OpenTelemetry collector, OTLP over HTTP: http://host:4318
    metrics_for: tuple[str, ...] = ("127.0.0.0/8", "::1/128")  # addresses that may read /metrics without a log-in
    worker_port: int = 0  # where `kelp worker` serves /metrics too, on a machine without a server; 0: nowhere


@dataclass(frozen=True, slots=True)
class Settings:
    data: Path = Path("kelp-data")
    server: Server = field(default_factory=Server)
    auth: Auth = field(default_factory=Auth)
    dav: Dav = field(default_factory=Dav)
    fuse: Fuse = field(default_factory=Fuse)
    database: Database = field(default_factory=Database)
    cache: Cache = field(default_factory=Cache)
    queue: Queue = field(default_factory=Queue)
    nas: Nas = field(default_factory=Nas)
    drive: Drive = field(default_factory=Drive)
    upload: Upload = field(default_factory=Upload)
    mirror: Mirror = field(default_factory=Mirror)
    versions: Versions = field(default_factory=Versions)
    trash: Trash = field(default_factory=Trash)
    history: History = field(default_factory=History)
    alerts: Alerts = field(default_factory=Alerts)
    scrub: Scrub = field(default_factory=Scrub)
    log: Log = field(default_factory=Log)
    telemetry: Telemetry = field(default_factory=Telemetry)

    @property
    def nas_root(self) -> Path:
        return self.nas.root

    @classmethod
    def load(cls, file: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
        """Read `file`, then `environ`, then `overrides` (`data=…`, `nas_root=…`, `server_port=…`; None is unset).

        Raises ConfigurationError, in one line, for an unreadable file, an unknown name or a wrong value.
        """
        values = dict(_from_file(file)) if file else {}
        values.update(_from_environ(environ or {}))
        values.update({key: value for key, value in overrides.items() if value is not None})
        return _completed(_apply(cls(), values))


def _from_file(file: Path) -> Mapping[str, object]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"cannot read the settings in {file}: {error}") from error
    flat: dict[str, object] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat.update({f"{key}_{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    return flat


def _from_environ(environ: Mapping[str, str]) -> Mapping[str, object]:
    known = {"data"} | {
        f"{s.name}_{f.name}" for s in fields(Settings) if s.name != "data" for f in fields(_hints(Settings)[s.name])
    }
    names = {key: key.removeprefix("KELP_").lower() for key in environ if key.startswith("KELP_")}
    return {name: environ[key] for key, name in names.items() if name in known}


_hints = functools.cache(typing.get_type_hints)  # types of fields: it evaluates source text, 8 ms for all sections


def _apply(settings: Settings, values: Mapping[str, object]) -> Settings:
    for key, value in values.items():
        section, _, name = key.partition("_")
        if key == "data":
            settings = replace(settings, data=Path(str(value)))
            continue
        hints = _hints(_hints(Settings)[section]) if section in Settings.__slots__ and name else {}
        if name not in hints:
            raise ConfigurationError(f"unknown setting: {key.replace('_', '.', 1)}")
        changed = replace(getattr(settings, section), **{name: _convert(key, value, hints[name])})
        settings = replace(settings, **{section: changed})
    return settings


_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _convert(key: str, value: object, hint: typing.Any) -> object:
    """Turn a word of the environment or a TOML value into the field's type."""
    if typing.get_origin(hint) is types.UnionType:
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    try:
        if hint is bool:
            return value if isinstance(value, bool) else _WORDS[str(value).strip().lower()]
        if hint is Amount:
            return Amount.parse(value)
        if key.replace("_", ".", 1) in _SIZES and isinstance(value, str):
            return _size(value)
        if isinstance(value, bool) or (hint is int and isinstance(value, float)):
            raise TypeError
        if hint is str and not isinstance(value, str | Path):
            raise TypeError
        if typing.get_origin(hint) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            if typing.get_args(hint)[0] is str:
                return tuple(word for word in map(_word, parts) if word)  # type: ignore[call-overload]
            return tuple(float(part) for part in parts)  # type: ignore[attr-defined]
        return hint(value)
    except (KeyError, ValueError, TypeError) as error:
        name = key.replace("_", ".", 1)
        like = "500 GiB, 60 % or none" if hint is Amount else "500 MiB" if name in _SIZES else ""
        advice = f", it must be like {like}" if like else ""
        raise ConfigurationError(f"wrong value for {name}: {value!r}{advice}") from error


_SIZES = (
    *("cache.reserve", "fuse.draft_limit", "nas.reserve"),
    *("scrub.rate", "upload.multipart_threshold", "upload.part_limit"),
)


def _size(value: str) -> int:
    """Bytes of "256 MiB". Raises ValueError."""
    try:
        return int(value)  # a negative one is refused with the others that are too small
    except ValueError:
        size = Amount.parse(value).bytes
        if size is None:
            raise
        return size


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value.strip()


_SOON = 0.01  # seconds; a loop without a pause would take a core for itself
_LEAST: dict[str, float] = {
    **dict.fromkeys(("server.threads", "mirror.workers", "database.connections"), 1),
    **dict.fromkeys(("upload.multipart_threshold", "upload.part_limit"), 1),
    **dict.fromkeys(("mirror.lease", "mirror.probe", "mirror.stall", "mirror.sweep", "queue.sweep"), _SOON),
    **dict.fromkeys(("database.timeout", "cache.timeout", "cache.publish", "cache.lease"), _SOON),
    **dict.fromkeys(("nas.health", "nas.slow", "fuse.patience"), _SOON),
    "fuse.threads": 1,
    **dict.fromkeys(("nas.reserve", "scrub.rate", "fuse.timeout", "fuse.draft_limit"), 0),
    **dict.fromkeys(("history.keep_days", "history.events_days", "scrub.days"), 1),
    "server.processes": 0,
    **dict.fromkeys(("auth.remember_seconds", "cache.reserve", "mirror.delay", "mirror.retries"), 0),
    **dict.fromkeys(("versions.keep_count", "versions.keep_days", "trash.keep_days"), 0),
}


_WORDS_FOR: dict[str, tuple[str, ...]] = {
    "cache.policy": ("lru", "lfu", "fifo"),
    "drive.duplicates": ("replace", "keep-dated"),
    "log.format": ("text", "json"),
}


def _check_words(settings: Settings) -> None:
    for key, words in _WORDS_FOR.items():
        section, name = key.split(".")
        value = getattr(getattr(settings, section), name)
        if value not in words:
            raise ConfigurationError(f"wrong value for {key}: {value!r}, it must be {' or '.join(words)}")


def _check_least(settings: Settings) -> None:
    for key, least in _LEAST.items():
        section, name = key.split(".")
        value = getattr(getattr(settings, section), name)
        for number in value if isinstance(value, tuple) else (value,):
            if not (math.isfinite(number) and number >= least):
                raise ConfigurationError(f"wrong value for {key}: {number}, it must be at least {least}")


def _check_amounts(cache: Cache) -> None:
    """Nobody knows how big the disks behind an S3 endpoint are."""
    for name, amount in (("limit", cache.limit), ("hard_limit", cache.hard_limit)):
        if amount.percent is not None and cache.url.startswith("s3://"):
            raise ConfigurationError(f"wrong value for cache.{name}: of an S3 cache it must be bytes, like 500 GiB")


def _completed(settings: Settings) -> Settings:
    """Fill what depends on the data folder, and refuse what cannot work."""
    data = settings.data.expanduser().absolute()
    nas = settings.nas.root
    nas = data / "nas" if nas == Path() else nas.expanduser().absolute()
    database = settings.database.url or f"sqlite:///{data / 'kelp.db'}"
    cache = settings.cache.url or str(data / "cache")
    server = settings.server
    for name, port in (("server.port", server.port), ("telemetry.worker_port", settings.telemetry.worker_port)):
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"wrong value for {name}: {port}")
    _check_least(settings)
    _check_words(settings)
    _check_amounts(settings.cache)
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigurationError("TLS needs both a certificate (tls-cert) and its key (tls-key)")
    if not server.processes:
        server = replace(server, processes=1 if database.startswith("sqlite") else os.cpu_count() or 1)
    return replace(
        settings,
        data=data,
        server=server,
        nas=replace(settings.nas, root=nas),
        database=replace(settings.database, url=database),
        cache=replace(settings.cache, url=cache),
    )
