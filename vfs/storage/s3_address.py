"""`s3://BUCKET?endpoint=URL[&region=…&prefix=…]`: which bucket, where, and under which prefix of its keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from vfs.errors import ConfigurationError
from vfs.storage.s3_wire import Endpoint

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?\Z")  # needs no encoding, in a path or in a signature
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_FORM = "cache.url must be s3://BUCKET?endpoint=http(s)://HOST[:PORT][&region=…&prefix=…]"


@dataclass(frozen=True, slots=True)
class S3Address:
    bucket: str
    endpoint: Endpoint
    region: str
    prefix: str  # of every key in the bucket; "" or ends as it was written

    @classmethod
    def parse(cls, url: str) -> S3Address:
        """Raises ConfigurationError, in one line, for anything but the form above."""
        try:
            split = urlsplit(url)
            pairs = parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query))
            endpoint = endpoint_of(dict(pairs).get("endpoint", ""))
        except ValueError as error:
            raise ConfigurationError(f"{_FORM}: {error}") from error
        options = dict(pairs)
        strange = options.keys() - {"endpoint", "region", "prefix"}
        if strange or len(options) != len(pairs) or split.path not in ("", "/") or split.fragment:
            raise ConfigurationError(f"{_FORM}; not understood: {', '.join(sorted(strange)) or split.path or 'twice'}")
        address = cls(split.netloc, endpoint, options.get("region", "us-east-1"), options.get("prefix", ""))
        for name, pattern, value in (
            ("bucket", _BUCKET, address.bucket),
            ("region", _REGION, address.region),
            ("prefix", _PREFIX, address.prefix or "-"),
        ):
            if not pattern.match(value) or ".." in value:
                shown = "what comes before @" if "@" in value else repr(value)  # keys, as other programs have them
                raise ConfigurationError(f"cache.url: {shown} cannot be a {name}")
        return address


def endpoint_of(url: str) -> Endpoint:
    """Raises ValueError, saying what is wrong."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        shown = split.scheme + "://…" if "@" in url else repr(url)  # a password, perhaps
        raise ValueError(f"the endpoint {shown} is no http(s) URL" if url else "the endpoint is missing")
    if split.path not in ("", "/") or split.query or split.fragment or "@" in split.netloc:
        raise ValueError(f"the endpoint {split.hostname!r} may have a port and nothing more")
    tls = split.scheme == "https"
    return Endpoint(split.hostname, split.port or (443 if tls else 80), tls, f"{split.scheme}://{split.netloc}")
