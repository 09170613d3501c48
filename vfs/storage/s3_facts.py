"""What an S3 endpoint says of itself and of our bucket: for `kelp doctor`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from vfs.errors import StoreUnavailable
from vfs.storage.s3_address import S3Address
from vfs.storage.s3_answers import Refusal
from vfs.storage.s3_signing import Signer
from vfs.storage.s3_wire import Pool, ProtocolError


@dataclass(frozen=True, slots=True)
class S3Facts:
    """`refused`: None when the bucket is there and ours. `product`: as the endpoint calls itself, "" when it does not.

    `clock_ahead`: seconds that its clock is ahead of ours, to about a second; None when it tells no time.
    """

    refused: Refusal | None
    product: str
    clock_ahead: float | None


def look(address: S3Address, access_key: str, secret_key: str, timeout: float) -> S3Facts:
    """Ask for a listing of nothing; the bucket is not made. Raises StoreUnavailable."""
    endpoint = address.endpoint
    signer = Signer(access_key, secret_key, address.region, endpoint.authority)
    path, query = f"/{address.bucket}", "list-type=2&max-keys=1"
    pool = Pool(endpoint, timeout)
    try:
        head = f"GET {path}?{query} HTTP/1.1\r\n{signer.head('GET', path, query, {})}\r\n"
        begun = time.time()
        answer = pool.request("GET", head.encode("ascii"), (), timeout)
        middle = (begun + time.time()) / 2
        try:
            body = answer.whole()
        finally:
            pool.drop(answer)
    except TimeoutError as error:
        raise StoreUnavailable(f"no byte from {endpoint.label} within {timeout:.0f} s") from error
    except (OSError, ProtocolError) as error:
        raise StoreUnavailable(f"{endpoint.label}: {error}") from error
    refused = None if answer.status == 200 else Refusal.read(answer.status, body)
    return S3Facts(refused, answer.headers.get("server", ""), _ahead(answer.headers.get("date", ""), middle))


def _ahead(date: str, now: float) -> float | None:
    """A Date header has whole seconds, cut off."""
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - now
    except ValueError:
        return None
