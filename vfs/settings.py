"""Settings: read once, from a TOML file, the environment and the command line, then frozen.

Each value has a place in the file (`[section] name = …`), the same as `KELP_SECTION_NAME` in the
environment (`KELP_NAS_ROOT`, `KELP_SERVER_PORT`), and the command line wins (design §10). No other module
reads the environment.
"""

from __future__ import annotations

import functools
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from vfs.errors import ConfigurationError
from vfs.setting_sections import (
    Alerts,
    Amount,
    Auth,
    Cache,
    Database,
    Dav,
    Drive,
    Fuse,
    History,
    Log,
    Mirror,
    Nas,
    Queue,
    Scrub,
    Server,
    Telemetry,
    Trash,
    Upload,
    Vault,
    Versions,
)

__all__ = [
    "Alerts", "Amount", "Auth", "Cache", "Database", "Dav", "Drive", "Fuse", "History", "Log", "Mirror", "Nas", "Queue",
    "Scrub", "Server", "Settings", "Telemetry", "Trash", "Upload", "Vault", "Versions",
]  # fmt: skip


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
    vault: Vault = field(default_factory=Vault)

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
        if name in _SECRETS:
            raise ConfigurationError(f"wrong value for {name}: it must be text") from None
        raise ConfigurationError(f"wrong value for {name}: {value!r}{advice}") from error


_SECRETS = ("cache.access_key", "cache.secret_key", "vault.key", "vault.passphrase")  # never shown, right or wrong


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
    if settings.vault.passphrase and settings.vault.passphrase_file:
        raise ConfigurationError("vault.passphrase and vault.passphrase_file: only one of them can be meant")
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
        vault=replace(
            settings.vault,
            key_file=_absolute(settings.vault.key_file),
            passphrase_file=_absolute(settings.vault.passphrase_file),
        ),
    )


def _absolute(file: Path | None) -> Path | None:
    return None if file in (None, Path()) else file.expanduser().absolute()
