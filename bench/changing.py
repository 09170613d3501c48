"""The cases that change something. Each trial works in a folder of its own, and looks at what it left there."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.cases import FEW, Case, MakeTrial, Sizes, Trial, connected, entries, require, require_big
from bench.client import Connection, destination, request
from bench.contents import MEDIUM, SMALL, Folder, content
from bench.load import Tally, Work, asking, run
from bench.servers import Server

_LOCK = (
    b'<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>bench</D:owner></D:lockinfo>"
)
_DOOMED = 25  # files that one client deletes
_DONE = (200, 201, 204)  # lighttpd copies a folder with a 200, nginx a file with a 204
_numbers = itertools.count()  # no name is used twice


def changing_cases(sizes: Sizes, big: Path, rounds: int) -> list[Case]:
    clients = (FEW, sizes.many)
    small, medium = Folder("small", 100, SMALL), Folder("medium", 8, MEDIUM)
    tree = Folder("tree", sizes.tree, SMALL)
    doomed = Folder("doomed", sizes.tree, SMALL, copies=rounds - 1)
    whole = f"folder with {sizes.tree:,} files"

    def case(
        key: str, title: str, trial: MakeTrial, many: bool = True, needs: tuple[Folder, ...] = (), each: int = 0
    ) -> Case:
        chosen = clients if many else (FEW,)
        return Case(key, title, title.split()[0], trial, chosen, needs, each, changes=True, big=each > 0)

    return [
        case("put-new", "PUT new 4 KiB", _put_new),
        case("put-over", "PUT over 4 KiB", _put_over),
        case("put-big", f"PUT {sizes.big_name}", _put_big(big), many=False, each=sizes.big),
        case("mkcol", "MKCOL", _mkcol),
        case("move-file", "MOVE of a file", _move_file),
        case("delete-file", "DELETE of a file", _delete_file),
        case("move-folder", f"MOVE of a {whole}", _move_folder(tree), many=False, needs=(tree,)),
        case("delete-folder", f"DELETE of a {whole}", _delete_folder(doomed), many=False, needs=(doomed,)),
        case("copy-small", "COPY of 4 KiB", _copy_file(small), needs=(small,)),
        case("copy-medium", "COPY of 1 MiB", _copy_file(medium), needs=(medium,)),
        case("copy-folder", f"COPY of a {whole}", _copy_folder(tree), many=False, needs=(tree,)),
        case("lock", "LOCK + UNLOCK", _lock),
        case("proppatch", "PROPPATCH", _proppatch),
    ]


def new_folder(server: Server) -> str:
    """Make a folder; its path below the root, with the final `/`."""
    name = f"work-{next(_numbers)}/"
    with connected(server) as connection:
        connection.ask(request("MKCOL", server.path(name)), 201)
    return name


def new_files(server: Server, count: int) -> list[str]:
    """Make that many files of 4 KiB in a new folder; their paths below the root."""
    folder = new_folder(server)
    paths = [f"{folder}{number}" for number in range(count)]
    messages = [request("PUT", server.path(path), content(0, SMALL)) for path in paths]
    run(server.port, [asking(messages[first::4], 201) for first in range(min(4, count))], 600)
    return paths


def _require_entries(server: Server, folder: str, count: int) -> None:
    with connected(server) as connection:
        connection.ask(request("PROPFIND", server.path(folder), Depth="1"), 207)
        found = entries(connection) - 1
    require(found == count, f"{folder} holds {found} entries instead of {count}")


def _require_content(server: Server, path: str, *contents: bytes) -> None:
    with connected(server) as connection:
        connection.ask(request("GET", server.path(path)), 200)
        require(connection.body in contents, f"{path} has other bytes than it should")


def discard(server: Server, path: str) -> None:
    with connected(server) as connection:
        connection.ask(request("DELETE", server.path(path)), 200, 204)
    server.forget_deleted()


def in_turns(*messages: bytes, wanted: tuple[int, ...] = _DONE) -> Work:
    """All of them, then from the start again: what is moved away comes back. Each is an operation."""

    def work(connection: Connection, seconds: float) -> Tally:
        started = now = time.perf_counter()
        count = 0
        while now < started + seconds:
            for message in messages:
                connection.ask(message, *wanted)
            count += len(messages)
            now = time.perf_counter()
        return Tally(count, now - started)

    return Work(work)


def _to_new_names(make: Callable[[Server, str], bytes], after: Callable[[Server, str], None]) -> MakeTrial:
    """`make(server, path)` is a request that makes something new at `path`; `after` looks at the first one."""

    def trial(server: Server, clients: int, number: int) -> Trial:
        folder = new_folder(server)

        def messages(client: int) -> Iterator[bytes]:
            return (make(server, f"{folder}{client}-{count}") for count in itertools.count())

        def finish(tally: Tally) -> None:
            _require_entries(server, folder, tally.count)
            after(server, f"{folder}0-0")
            discard(server, folder)

        return Trial([asking(messages(client), *_DONE) for client in range(clients)], finish)

    return trial


_put_new = _to_new_names(
    lambda server, path: request("PUT", server.path(path), content(1, SMALL)),
    lambda server, path: _require_content(server, path, content(1, SMALL)),
)
_mkcol = _to_new_names(
    lambda server, path: request("MKCOL", server.path(path + "/")),
    lambda server, path: _require_entries(server, path + "/", 0),
)


def _copy_file(folder: Folder) -> MakeTrial:
    source = folder.paths()[0]
    return _to_new_names(
        lambda server, path: request("COPY", server.path(source), Destination=destination(server.path(path))),
        lambda server, path: _require_content(server, path, content(0, folder.size)),
    )


def _copy_folder(tree: Folder) -> MakeTrial:
    return _to_new_names(
        lambda server, path: request(
            "COPY", server.path(tree.name + "/"), Destination=destination(server.path(path + "/")), Depth="infinity"
        ),
        lambda server, path: _require_entries(server, path + "/", tree.files),
    )


def _put_over(server: Server, clients: int, number: int) -> Trial:
    paths, contents = new_files(server, clients), [content(value, SMALL) for value in (1, 2)]

    def finish(tally: Tally) -> None:
        for path in paths:
            _require_content(server, path, contents[-1])

    return Trial([in_turns(*(request("PUT", server.path(path), body) for body in contents)) for path in paths], finish)


def _put_big(big: Path) -> MakeTrial:
    def trial(server: Server, clients: int, number: int) -> Trial:
        name = f"upload-{next(_numbers)}"

        def work(connection: Connection, seconds: float) -> Tally:
            started = time.perf_counter()
            connection.upload(server.path(name), big)
            return Tally(1, time.perf_counter() - started)

        def finish(tally: Tally) -> None:
            if number == 0:
                require_big(server, server.path(name), big)
            discard(server, name)

        return Trial([Work(work)], finish)

    return trial


def _there_and_back(server: Server, here: str, there: str) -> Work:
    ways = ((here, there), (there, here))
    return in_turns(
        *(request("MOVE", server.path(old), Destination=destination(server.path(new))) for old, new in ways)
    )


def _move_file(server: Server, clients: int, number: int) -> Trial:
    paths = new_files(server, clients)
    folder = paths[0].partition("/")[0] + "/"
    works = [_there_and_back(server, path, path + "-moved") for path in paths]
    return Trial(works, lambda tally: _require_entries(server, folder, clients))


def _move_folder(tree: Folder) -> MakeTrial:
    def trial(server: Server, clients: int, number: int) -> Trial:
        work = _there_and_back(server, tree.name + "/", f"{tree.name}-moved/")
        return Trial([work], lambda tally: _require_entries(server, tree.name + "/", tree.files))

    return trial


def _delete_file(server: Server, clients: int, number: int) -> Trial:
    paths = new_files(server, clients * _DOOMED if clients > 1 else 4 * _DOOMED)
    folder = paths[0].partition("/")[0] + "/"
    messages = [request("DELETE", server.path(path)) for path in paths]

    def all_of(mine: list[bytes]) -> Work:
        work = asking(mine, 200, 204)
        return Work(lambda connection, seconds: work.run(connection, 600))

    works = [all_of(messages[first::clients]) for first in range(clients)]
    return Trial(works, lambda tally: _require_entries(server, folder, 0))


def _delete_folder(doomed: Folder) -> MakeTrial:
    names = list(doomed.names())

    def trial(server: Server, clients: int, number: int) -> Trial:
        path = server.path(names[number] + "/")

        def finish(tally: Tally) -> None:
            with connected(server) as connection:
                connection.ask(request("PROPFIND", path, Depth="0"), 404)

        return Trial([asking([request("DELETE", path)], 200, 204)], finish)

    return trial


def _lock(server: Server, clients: int, number: int) -> Trial:
    def locking(path: str) -> Work:
        ask_lock = request("LOCK", path, _LOCK, Depth="0", Timeout="Second-600", Content_Type="application/xml")

        def work(connection: Connection, seconds: float) -> Tally:
            started = now = time.perf_counter()
            count = 0
            while now < started + seconds:
                connection.ask(ask_lock, 200)
                connection.ask(request("UNLOCK", path, Lock_Token=connection.header("Lock-Token")), 204)
                count += 1
                now = time.perf_counter()
            return Tally(count, now - started)

        return Work(work)

    return Trial([locking(server.path(path)) for path in new_files(server, clients)])


def _proppatch(server: Server, clients: int, number: int) -> Trial:
    def set_to(value: int) -> bytes:
        return (
            b'<?xml version="1.0" encoding="utf-8"?><D:propertyupdate xmlns:D="DAV:" xmlns:B="urn:bench"><D:set>'
            b"<D:prop><B:mark>value-%d</B:mark></D:prop></D:set></D:propertyupdate>" % value
        )

    def patching(path: str) -> Work:
        # lighttpd answers with a 204
        messages = [request("PROPPATCH", path, set_to(value), Content_Type="application/xml") for value in (1, 2)]
        return Work(in_turns(*messages, wanted=(207, 204)).run, lambda connection: _require_mark(connection, path))

    return Trial([patching(server.path(path)) for path in new_files(server, clients)])


def _require_mark(connection: Connection, path: str) -> None:
    body = b'<D:propfind xmlns:D="DAV:" xmlns:B="urn:bench"><D:prop><B:mark/></D:prop></D:propfind>'
    connection.ask(request("PROPFIND", path, body, Depth="0", Content_Type="application/xml"), 207)
    require(b"value-2" in connection.body, "PROPPATCH left another value than the last")
