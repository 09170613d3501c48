"""The server's certificate, as far as clients need it: what nobody else vouches for has to be given to them."""

from __future__ import annotations

import re

from vfs.crypto.certificates import read_facts
from vfs.errors import ConfigurationError
from vfs.settings import Settings

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def own_root(settings: Settings) -> bytes | None:
    """The certificate in PEM form when it is self-signed; None without TLS, or when an authority signed it.

    Only the certificate itself, whatever else the file holds: some keep the key in the same one. What cannot be read
    any more is None too; the server goes on with what it loaded when it started.
    """
    file = settings.server.tls_cert
    try:
        if file is None or not read_facts(file).self_signed:
            return None
        found = _CERTIFICATE.search(file.read_bytes())
    except (ConfigurationError, OSError):
        return None
    return found[0] + b"\n" if found else None
