"""The sections of the settings: each value with its type, its default and what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path


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
        return not self.unlimited and self.bytes is None and self.percent is None

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
class Vault:
    """Where the private keys of vaults come from. Secrets are left out of what is shown of this value."""

    key_file: Path | None = None  # PEM; empty: keys/server.pem in the data folder, when it is there
    key: str = field(default="", repr=False)  # the PEM itself, one or several, for machines that have no such file
    passphrase: str = field(default="", repr=False)  # that locks them
    passphrase_file: Path | None = None  # whose first line it is
