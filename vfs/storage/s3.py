"""Objects in a bucket of any S3 endpoint.

One call is one try: trying again, and reading on where a body was cut, is `retrying.py` around it. The calls of every
request (put, get, stat, delete, list) are our own, what is rare goes through boto3 (`s3_rare.py`), which is imported
only then: it takes 38 MB. Why our own (`python -m bench.s3_calls`; ms of processor time for a call of 4 KiB):

                                   put   get   head  delete
    ours (CRC and BLAKE3 included) 0.19  0.16  0.12  0.13
    http.client, our signer        0.25  0.24  0.21  0.20
    urllib3, our signer            0.48  0.44  0.42  0.41
    urllib3, botocore's signer     0.63  0.56  0.57  0.55
    boto3                          1.42  1.43  1.42  1.13
    obstore (Rust)                 0.15  0.14  0.10  0.16

256 MiB in parts: 0.17 s of processor to put and 0.05 s to get, boto3's transfer 0.48 and 0.22 s. Checksums of 8 MiB:
CRC-32 1.9 ms, SHA-256 5.8, MD5 13.5.
"""

from __future__ import annotations

import base64
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from urllib.parse import quote

from blake3 import blake3

from vfs.errors import ConfigurationError, ContentCorrupt, StoreUnavailable
from vfs.model import PART_SIZE, PIECE_SIZE, ByteRange, Stored
from vfs.storage.object_store import ObjectInfo, Usage, check_key, is_key
from vfs.storage.s3_address import S3Address
from vfs.storage.s3_answers import Refusal, behind_ns, listing
from vfs.storage.s3_bodies import cut, in_parts
from vfs.storage.s3_rare import Rare
from vfs.storage.s3_signing import Signer
from vfs.storage.s3_wire import Answer, Body, Endpoint, Pool, ProtocolError

_UNKNOWN = 1 << 50  # bytes: S3 tells neither size nor free space
_SILENT = 3.0  # seconds after a call in vain …
_BRIEF = 0.3  # … in which others wait no longer than so many: who undoes a failed put must not hang once more
_NONE: Mapping[str, str] = {}
_NEW = {"if-none-match": "*"}  # put nothing over what is there


class S3ObjectStore:
    """An ObjectStore in a bucket, under `address.prefix`."""

    at_once = 4  # 8 MiB parts of one upload; more gain nothing

    def __init__(
        self, address: S3Address, access_key: str, secret_key: str, timeout: float, public: Endpoint | None = None
    ) -> None:
        """Asks nothing yet. `timeout`: seconds after which the endpoint counts as away, when less than 16 KiB come or
        a piece of an upload does not go out in them. `public`: the endpoint as clients reach it."""
        endpoint = address.endpoint
        self._public = public or endpoint
        self._presigner = Signer(access_key, secret_key, address.region, self._public.authority)
        self._address, self._timeout = address, timeout
        self._pool = Pool(endpoint, timeout)
        self._signer = Signer(access_key, secret_key, address.region, endpoint.authority)
        self._rare = Rare(address, access_key, secret_key, timeout)
        self._root = f"/{address.bucket}"
        self._silent_until = 0.0

    # --- the bucket

    def prepare(self) -> None:
        """See that the bucket is there, and make it when it is not.

        Raises StoreUnavailable when nobody answers, which may pass, and ConfigurationError for what will not: no S3
        behind the address, keys that are not accepted.
        """
        where = f"{self._address.endpoint.label} (bucket {self._address.bucket})"
        try:
            with self._faults("bucket"):
                refusal = self._look()
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ProtocolError | ssl.SSLError) and not isinstance(
                error.__cause__, ssl.SSLEOFError
            ):
                raise ConfigurationError(f"no S3 endpoint at {where}: {error.__cause__}") from error
            raise
        if refusal is None:
            return
        if refusal.code == "NoSuchBucket":
            self._rare.make_bucket()
        elif refusal.status >= 500 or refusal.status == 429:
            raise refusal.error("bucket")
        elif not refusal.code:
            raise ConfigurationError(f"no S3 endpoint at {where}: it answers {refusal}")
        else:
            raise ConfigurationError(f"the S3 endpoint {where} refuses: {refusal}")

    def _look(self) -> Refusal | None:
        answer = self._send("GET", self._root, "list-type=2&max-keys=1")
        body = self._whole(answer)
        if answer.status == 200:
            listing(body, "", 0)
            return None
        return Refusal.read(answer.status, body)

    # --- objects

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        path = self._path(key)
        pieces: list[bytes] = []
        digest, size = blake3(), 0
        source = iter(chunks)
        for chunk in source:
            piece = bytes(chunk)  # a copy, unless it is `bytes`: the caller may reuse the buffer
            pieces.append(piece)
            digest.update(piece)
            size += len(piece)
            if size > PART_SIZE:
                return self._put_large(key, chain(pieces, source), replace)
        self._require_taken(self._put(path, "", pieces, _NONE if replace else _NEW), key)
        return Stored(size, digest.hexdigest())

    def _put(self, path: str, query: str, pieces: Sequence[bytes], headers: Mapping[str, str]) -> Answer:
        """The CRC makes the store refuse a body that was changed on its way (BadDigest)."""
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        amz = {"x-amz-checksum-crc32": base64.b64encode(crc.to_bytes(4, "big")).decode()}
        return self._send("PUT", path, query, headers, amz, cut(pieces))

    def _require_taken(self, answer: Answer, key: str) -> None:
        """S3 answers a put with 200 and an ETag; anybody else behind the name may say 200, and has stored nothing."""
        self._refuse(answer, key)
        if answer.status != 200 or "etag" not in answer.headers:
            raise StoreUnavailable(f"cache: {key}: the answer {answer.status} to a put is not one of S3")

    def _put_large(self, key: str, chunks: Iterable[bytes | memoryview], replace: bool) -> Stored:
        """More than a part: a multipart upload, a part at a time in memory; at most 10,000 parts, says S3."""
        path, digest, size = self._path(key), blake3(), 0
        with self._rare.upload(self._address.prefix + key, replace) as upload:
            for number, pieces in enumerate(in_parts(chunks), 1):
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                query = f"partNumber={number}&uploadId={quote(upload.id, safe='')}"
                answer = self._put(path, query, pieces, _NONE)
                self._require_taken(answer, key)
                upload.took(number, answer.headers.get("etag", ""))
        return Stored(size, digest.hexdigest())

    def get(self, key: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        path = self._path(key)
        if byte_range is None:
            answer = self._send("GET", path)
            if answer.status == 200:
                return self._pieces(answer, key, None)
        else:
            start, stop = byte_range
            if not 0 <= start <= stop:
                raise ValueError(f"not a byte range: {start} to {stop}")
            if start == stop:
                return self._nothing(key, stop)
            answer = self._send("GET", path, headers={"range": f"bytes={start}-{stop - 1}"})
            if answer.status == 206 or (answer.status == 200 and start == 0 and answer.left == stop):
                return self._pieces(answer, key, byte_range)
            if answer.status == 200:
                self._pool.drop(answer)
                raise StoreUnavailable(f"cache: {key}: the endpoint does not do ranges")
        raise self._refusal(answer).error(key)

    def _nothing(self, key: str, stop: int) -> Iterator[bytes]:
        """S3 cannot say "no bytes": the object is looked at for being there, and long enough."""
        if self.stat(key) < stop:
            raise ContentCorrupt(f"cache: {key}: ends before byte {stop}")
        return iter(())

    def _pieces(self, answer: Answer, key: str, byte_range: ByteRange | None) -> Iterator[bytes]:
        pieces = _Pieces(self, answer, key)
        if byte_range and not _has(answer, byte_range):
            pieces.close()
            total = answer.headers.get("content-range", "").rpartition("/")[2]
            if total.isdecimal() and int(total) < byte_range.stop:
                raise ContentCorrupt(f"cache: {key}: ends at byte {total}, expected at least {byte_range.stop}")
            raise StoreUnavailable(f"cache: {key}: the endpoint gave another range than asked for")
        return pieces

    def stat(self, key: str) -> int:
        answer = self._send("HEAD", self._path(key))
        length = answer.headers.get("content-length", "")
        if answer.status != 200:
            refusal = self._refusal(answer)
            if refusal.status == 404:  # an answer to HEAD cannot say what is missing
                self._require_bucket()
            raise refusal.error(key)
        self._pool.done(answer)
        if not length.isdecimal():
            raise StoreUnavailable(f"cache: {key}: the endpoint did not tell the size")
        return int(length)

    def _require_bucket(self) -> None:
        with self._faults("bucket"):
            refusal = self._look()
        if refusal is not None:
            raise refusal.error("bucket")

    def delete(self, key: str) -> None:
        answer = self._send("DELETE", self._path(key))
        if answer.status == 404:
            self._whole(answer)
            return
        self._refuse(answer, key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        for bound in (prefix, after):
            if bound:
                check_key(bound)
        return self._listed(prefix, after)

    def _listed(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        own = self._address.prefix
        start = own + after if after else ""
        while True:
            query = f"list-type=2&max-keys=1000&prefix={quote(own + prefix, safe='')}"
            if start:
                query += f"&start-after={quote(start, safe='')}"
            answer = self._send("GET", self._root, query)
            if answer.status != 200:
                raise self._refusal(answer).error("listing")
            with self._faults("listing"):
                page = listing(self._whole(answer), own, behind_ns(answer.headers))
            yield from (info for info in page.infos if is_key(info.key) and info.key > after)
            if not page.more:
                return
            if page.last <= start:
                raise StoreUnavailable("cache: the endpoint says that a listing goes on, and it does not")
            start = page.last

    def usage(self) -> Usage:
        return Usage(_UNKNOWN, _UNKNOWN)

    def presign_put(self, key: str, seconds: int) -> str:
        path, public = self._path(key), self._public
        scheme = "https" if public.tls else "http"
        return f"{scheme}://{public.authority}{path}?{self._presigner.query('PUT', path, seconds)}"

    def close(self) -> None:
        self._pool.close()

    # --- one call

    def _path(self, key: str) -> str:
        return f"{self._root}/{self._address.prefix}{check_key(key)}"

    def _send(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] = _NONE,
        amz: Mapping[str, str] = _NONE,
        body: Body = (),
    ) -> Answer:
        """One request and the head of its answer, whatever that says. Raises StoreUnavailable."""
        lines = [f"{method} {path}{'?' if query else ''}{query} HTTP/1.1\r\n"]
        lines.append(self._signer.head(method, path, query, amz))
        lines += [f"{name}:{value}\r\n" for name, value in headers.items()]
        if method == "PUT":
            lines.append(f"content-length:{sum(map(len, body))}\r\n")
        lines.append("\r\n")
        with self._faults(path):
            head = "".join(lines).encode("ascii")
            # A put that arrived, though its answer did not, would be refused the second time: retrying.py knows that.
            twice = "if-none-match" not in headers
            return self._pool.request(method, head, body, self._patience(), twice=twice)

    def _patience(self) -> float:
        """Seconds to wait for a byte."""
        return min(_BRIEF, self._timeout) if time.monotonic() < self._silent_until else self._timeout

    @contextmanager
    def _faults(self, subject: str) -> Iterator[None]:
        """What network and answers do wrong, as errors of the core."""
        try:
            yield
        except TimeoutError as error:
            now = time.monotonic()
            if now >= self._silent_until:
                self._silent_until = now + _SILENT
            raise StoreUnavailable(f"cache: {subject}: no byte from {self._address.endpoint.label} in time") from error
        except (OSError, ProtocolError) as error:
            raise StoreUnavailable(f"cache: {subject}: {self._address.endpoint.label}: {error}") from error

    def _whole(self, answer: Answer) -> bytes:
        """A short body, and the end of the call."""
        try:
            body = answer.whole()
        except BaseException:
            self._pool.drop(answer)
            raise
        self._pool.done(answer)
        return body

    def _refusal(self, answer: Answer) -> Refusal:
        """Read the rest of an answer that is an error; a bucket that has gone is made again, for the next try."""
        with self._faults("answer"):
            refusal = Refusal.read(answer.status, self._whole(answer))
        if refusal.code == "NoSuchBucket":
            with suppress(ConfigurationError):  # it says so in the log; whoever asks hears that the cache is away
                self._rare.make_bucket()
        return refusal

    def _refuse(self, answer: Answer, subject: str) -> None:
        """End a call that has no body to give. Raises what its answer means, if not success."""
        if answer.status >= 300:
            raise self._refusal(answer).error(subject)
        with self._faults(subject):
            self._whole(answer)


def _has(answer: Answer, wanted: ByteRange) -> bool:
    """The bytes that were asked for, and no others."""
    if answer.left != wanted.stop - wanted.start:
        return False
    said = answer.headers.get("content-range", "")
    return answer.status == 200 or said.startswith(f"bytes {wanted.start}-{wanted.stop - 1}/")


class _Pieces(Iterator[bytes]):
    """The body of an answer. Its connection rests after the last piece, and is closed when the reader stops before."""

    def __init__(self, store: S3ObjectStore, answer: Answer, key: str) -> None:
        self._store, self._answer, self._key = store, answer, key
        self._open = True
        if answer.left == 0:
            self._end()

    def __next__(self) -> bytes:
        if not self._open:
            raise StopIteration
        answer = self._answer
        try:
            with self._store._faults(self._key):
                piece = answer.read(PIECE_SIZE)
        except BaseException:
            self.close()
            raise
        if not answer.left:
            self._end()
        return piece

    def _end(self) -> None:
        self._open = False
        self._store._pool.done(self._answer)

    def close(self) -> None:
        """Give up the rest."""
        if self._open:
            self._open = False
            self._store._pool.drop(self._answer)

    def __del__(self) -> None:
        self.close()
