"""What people do with a drive, one function each; the table at the end says how often."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from urllib.parse import unquote

from tests.crash.client import url
from tests.crash.ledger import Body
from tests.soak.documents import Path
from tests.soak.person import MOST_FILES, MOST_FOLDERS, Person, Surprise
from vfs.errors import NotFound
from vfs.model import OnConflict
from vfs.operations import reading, trashing, versioning

_LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>soak</D:owner></D:lockinfo>"
)
_LIST = (
    b'<D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/><D:getetag/><D:getlastmodified/>'
    b"</D:prop></D:propfind>"
)
_LABEL = (
    b"<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><l xmlns='urn:soak'>read %d</l></D:prop></D:set>"
    b"</D:propertyupdate>"
)
_KEPT_IN_TRASH = 6


# --- files


def write(person: Person) -> None:
    if len(person.files()) < MOST_FILES:
        person.put((*person.any_folder(), person.new_name()), person.new_document())
    else:
        delete(person)


def overwrite(person: Person) -> None:
    if path := person.any_file():
        person.put(path, person.new_document())


def save_by_rename(person: Person) -> None:
    """Write beside it, then move over it: what most programs do."""
    if path := person.any_file():
        beside = (*path[:-1], person.new_name(".~{}.part"))
        person.put(beside, person.new_document())
        person.move(beside, path)


def save_as_word_does(person: Person) -> None:
    """The old file moves away, the new one takes its name, the old one goes; an owner file tells who has it open."""
    if path := person.any_file():
        folder = path[:-1]
        owner, new, old = ((*folder, person.new_name(p)) for p in ("~$doc {}.docx", "~WRD{:04d}.tmp", "~WRL{:04d}.tmp"))
        person.put(owner, person.new_document())
        person.put(new, person.new_document())
        person.move(path, old)
        person.move(new, path)
        person.delete(old)
        person.delete(owner)


def save_under_a_lock(person: Person) -> None:
    """As an editor that opens by URL; meanwhile nobody else may write."""
    if path := person.any_file():
        with_token = {"If": f"(<{_lock(person, path)}>)"}
        person.ask("PUT", path, 423, b"somebody else's")
        person.put(path, person.new_document(), with_token)
        _unlock(person, path, with_token)


def _lock(person: Person, path: Path) -> str:
    reply = person.ask("LOCK", path, 200, _LOCKINFO, {"Depth": "0", "Timeout": "Second-600"})
    return reply.headers["lock-token"].strip("<>")


def _unlock(person: Person, path: Path, with_token: dict[str, str]) -> None:
    person.ask("UNLOCK", path, 204, headers={"Lock-Token": with_token["If"].strip("()")})


def save_with_companion(person: Person) -> None:
    """What macOS keeps beside a file on a drive without its attributes."""
    if path := person.any_file():
        companion = (*path[:-1], "._" + path[-1])
        if path[-1].startswith("._") or companion in person.tree:
            return
        person.put(companion, person.new_document())
        person.put(path, person.new_document())
        person.delete(companion)


def rename(person: Person) -> None:
    if path := person.any_file():
        person.move(path, (*path[:-1], person.new_name("renamed {:05d}.txt")))


def move(person: Person) -> None:
    if path := person.any_file():
        target = (*person.any_folder(), path[-1])
        if target not in person.tree:
            person.move(path, target)


def copy(person: Person) -> None:
    if (path := person.any_file()) and len(person.files()) < MOST_FILES:
        target = (*person.any_folder(), person.new_name("copy {:05d}.txt"))
        person.ask("COPY", path, 201, headers={"Destination": url(target), "Overwrite": "F"})
        person.tree[target] = person.tree[path]


def delete(person: Person) -> None:
    if path := person.any_file():
        person.delete(path)


# --- folders


def make_folder(person: Person) -> None:
    if len(person.folders()) < MOST_FOLDERS:
        path = (*person.any_folder(), person.new_name("folder {}"))
        person.ask("MKCOL", path, 201)
        person.tree[path] = None


def rename_folder(person: Person) -> None:
    if path := person.any_inner_folder():
        person.move(path, (*path[:-1], person.new_name("folder renamed {}")))


def move_folder(person: Person) -> None:
    if path := person.any_inner_folder():
        goal = person.any_folder()
        target = (*goal, path[-1])
        if goal[: len(path)] != path and target not in person.tree and len(target) < 8:
            person.move(path, target)


def copy_folder(person: Person) -> None:
    path = person.any_inner_folder()
    if path and len(person.tree) + len(person.below(path)) < MOST_FILES:
        target = (*person.home, person.new_name("folder copied {}"))
        person.ask("COPY", path, 201, headers={"Destination": url(target), "Overwrite": "F"})
        person.hang(target, person.below(path))


def delete_folder(person: Person) -> None:
    if path := person.any_inner_folder():
        person.delete(path)


# --- looking


def read(person: Person) -> None:
    if path := person.any_file():
        person.require_bytes(f"GET {path}", person.ask("GET", path, 200).body, person.files()[path].data())


def read_range(person: Person) -> None:
    if (path := person.any_file()) and (size := person.files()[path].size):
        first = person.random.randrange(size)
        last = min(size, first + person.random.choice((1, 5000, 65_536, 1 << 20, size))) - 1
        reply = person.ask("GET", path, 206, headers={"Range": f"bytes={first}-{last}"})
        expected = person.files()[path].data(first, last + 1)
        person.require_bytes(f"GET {path} {first}-{last}", reply.body, expected)


def read_what_is_known(person: Person) -> None:
    if path := person.any_file():
        tag = person.ask("HEAD", path, 200).headers["etag"]
        person.ask("GET", path, 304, headers={"If-None-Match": tag})


def list_folder(person: Person) -> None:
    folder = person.any_folder()
    reply = person.ask("PROPFIND", folder, 207, _LIST, {"Depth": "1"})
    found = {}
    for response in ET.fromstring(reply.body).iter("{DAV:}response"):
        is_folder = response.find(".//{DAV:}collection") is not None
        size = int(response.findtext(".//{DAV:}getcontentlength") or "0")
        found[unquote(response.findtext("{DAV:}href", "")).rstrip("/")] = None if is_folder else size
    expected = {
        unquote(url(path)): document.size if document else None
        for path, document in person.tree.items()
        if path == folder or path[:-1] == folder
    }
    if found != expected:
        raise Surprise(f"PROPFIND {folder}: {set(found.items()) ^ set(expected.items())}")


def label(person: Person) -> None:
    if path := person.any_file():
        person.ask("PROPPATCH", path, 207, _LABEL % person.random.randrange(100))


# --- trash and versions


def restore(person: Person) -> None:
    """What was deleted comes back, where it was or wherever its folder is by now."""
    items = {item.entry.id: item.entry.uuid for item in trashing.list_trash(person.kelp, person.caller)}
    known = sorted(items.keys() & person.trashed.keys())
    if known and len(person.tree) < MOST_FILES:
        entry_id = person.random.choice(known)
        trashing.restore(person.kelp, person.caller, items[entry_id], on_conflict=OnConflict.RENAME)
        there = reading.path_of(person.kelp, entry_id)
        for length in range(1, len(there)):
            person.tree.setdefault(there[:length], None)
        person.hang(there, person.trashed.pop(entry_id))


def purge(person: Person) -> None:
    """The oldest go for good; of what never came to the trash (it was too young) nothing is remembered."""
    mine = [
        (item.trashed_ns, item.entry.id, item.entry.uuid)
        for item in trashing.list_trash(person.kelp, person.caller)
        if item.original_path.strip("/").split("/")[0] == person.home[0]
    ]
    mine.sort(reverse=True)
    for _, _, uuid in mine[_KEPT_IN_TRASH:]:
        trashing.purge(person.kelp, person.caller, uuid)
    kept = {entry_id for _, entry_id, _ in mine[:_KEPT_IN_TRASH]}
    person.trashed = {entry_id: subtree for entry_id, subtree in person.trashed.items() if entry_id in kept}


def look_at_versions(person: Person) -> None:
    """Whatever a version says must once have been written by him."""
    if path := person.any_file():
        for version in versioning.list_versions(person.kelp, person.caller, person.entry_id(path)):
            try:
                data = b"".join(versioning.open_version(person.kelp, person.caller, version.uuid).chunks())
            except NotFound:  # it was one too many, and expired while we looked
                continue
            if Body.of(data) not in person.written:
                raise Surprise(f"{path}, version {version.uuid}: {len(data)} bytes that nobody wrote")


HABITS: dict[Callable[[Person], None], float] = {  # how often, beside the others
    read: 20,
    list_folder: 12,
    read_range: 10,
    write: 8,
    overwrite: 5,
    **dict.fromkeys((delete, read_what_is_known), 4),
    **dict.fromkeys((rename, move), 3),
    **dict.fromkeys((save_by_rename, save_as_word_does, save_under_a_lock, copy, make_folder, rename_folder, purge), 2),
    **dict.fromkeys((move_folder, restore), 1.5),
    **dict.fromkeys((save_with_companion, delete_folder, label, look_at_versions), 1),
    copy_folder: 0.5,
}
