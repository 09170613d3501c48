"""AWS Signature Version 4, in headers ("Authenticating Requests: Using the Authorization Header" of the S3 API), and
in a URL for others.

Written for the few requests that a cache makes: paths and queries arrive encoded, the body is not signed
(UNSIGNED-PAYLOAD: its CRC-32 is sent, signed, and checked by the store; SHA-256 would cost three times as much). A
signature takes 10 µs, botocore's signer 150.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote

_UNSIGNED = "UNSIGNED-PAYLOAD"


class Signer:
    """Signs for one pair of keys, one region and one host. For many threads."""

    def __init__(self, access_key: str, secret_key: str, region: str, host: str) -> None:
        """`host`: as in the Host header, with the port unless it is the scheme's own."""
        self._access_key, self._region, self._host = access_key, region, host
        self._secret = f"AWS4{secret_key}".encode()
        self._key_of_day = ("", b"")

    def head(self, method: str, path: str, query: str, amz: Mapping[str, str]) -> str:
        """The header lines that authenticate a request made now: Host, `amz` (names in lower case), Authorization.

        `path` percent-encoded; `query` percent-encoded and sorted by name.
        """
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        day = at[:8]
        signed = {**amz, "host": self._host, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": at}
        names = sorted(signed)
        lines = "".join([f"{name}:{signed[name]}\n" for name in names])
        listed = ";".join(names)
        request = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{_UNSIGNED}"
        scope = f"{day}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(day), text.encode(), "sha256").hex()
        return (
            lines.replace("\n", "\r\n") + f"authorization:AWS4-HMAC-SHA256 Credential={self._access_key}/{scope},"
            f"SignedHeaders={listed},Signature={signature}\r\n"
        )

    def query(self, method: str, path: str, seconds: int) -> str:
        """The query string that lets anybody make this one request for so long ("Authenticating Requests: Using Query
        Parameters" of the S3 API); its body is whatever he sends. `path` percent-encoded."""
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        day = at[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={quote(f'{self._access_key}/{scope}', safe='')}"
            f"&X-Amz-Date={at}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host"
        )
        request = f"{method}\n{path}\n{query}\nhost:{self._host}\n\nhost\n{_UNSIGNED}"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        return f"{query}&X-Amz-Signature={hmac.digest(self._key(day), text.encode(), 'sha256').hex()}"

    def _key(self, day: str) -> bytes:
        known, key = self._key_of_day
        if known != day:
            key = self._secret
            for word in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, word.encode(), "sha256")
            self._key_of_day = (day, key)
        return key
