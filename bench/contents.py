"""What is on the drives before anything is measured, the same on all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.client import Connection, destination, request
from bench.load import asking, run

SLICE = 64 * 1024
SMALL = 4096
MEDIUM = 1024 * 1024
BIG_NAME = "big"
_CLIENTS = 8
_noise = os.urandom(MEDIUM)


@dataclass(frozen=True)
class Folder:
    """A folder with `files` files of `size` bytes; `copies` more of it are `name-0` and up."""

    name: str
    files: int
    size: int
    copies: int = 0

    def names(self) -> Iterator[str]:
        """All folders of this kind."""
        yield self.name
        yield from (f"{self.name}-{number}" for number in range(self.copies))

    def paths(self) -> list[str]:
        """The files of the first one, as paths below the root."""
        return [f"{self.name}/{file_name(number)}" for number in range(self.files)]


def file_name(number: int) -> str:
    return f"document-{number:05}.docx"


def content(number: int, size: int) -> bytes:
    """Bytes that no other number has, for a size of up to 1 MiB."""
    return number.to_bytes(8, "big") + _noise[: size - 8]


def big_slice(number: int) -> bytes:
    """The bytes of the big file from `number` times 64 KiB on."""
    return content(number, SLICE)


def make_big(file: Path, size: int) -> None:
    """A file of `size` bytes, a multiple of 64 KiB."""
    with file.open("wb") as out:
        for number in range(size // SLICE):
            out.write(big_slice(number))
    file.chmod(0o666)  # all peers share it


def fill(served: Path, folders: Sequence[Folder], big: Path) -> None:
    """Make all of it in a plain folder, before its server starts: some remember what a folder held."""
    for folder in folders:
        for name in folder.names():
            (served / name).mkdir()
            for number in range(folder.files):
                (served / name / file_name(number)).write_bytes(content(number, folder.size))
    if big.exists():
        os.link(big, served / BIG_NAME)


def fill_by_http(port: int, mount: str, folders: Sequence[Folder], big: Path) -> None:
    """Make all of it as a client would: Kelp's names are in its database."""
    with closing(Connection(port)) as connection:
        for folder in folders:
            connection.ask(request("MKCOL", f"{mount}{folder.name}"), 201)
            messages = [
                request("PUT", f"{mount}{path}", content(number, folder.size))
                for number, path in enumerate(folder.paths())
            ]
            works = [asking(messages[first::_CLIENTS], 201) for first in range(min(_CLIENTS, folder.files))]
            run(port, works, 600)
            for copy in list(folder.names())[1:]:
                to = destination(f"{mount}{copy}/")
                connection.ask(request("COPY", f"{mount}{folder.name}/", Destination=to), 201)
        if big.exists():
            connection.upload(f"{mount}{BIG_NAME}", big)
