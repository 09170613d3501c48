"""WebDAV and REST as doors of `rights_table`."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from urllib.parse import quote, unquote

from tests.faces.api.conftest import ADMIN, Api
from tests.faces.conftest import Reply
from tests.faces.rights_table import Got
from vfs.operations.reading import resolve

_LOCK = b'<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype></lockinfo>'
_TOUCH = (
    b'<propertyupdate xmlns="DAV:" xmlns:z="urn:schemas-microsoft-com:"><set><prop>'
    b"<z:Win32LastModifiedTime>Thu, 01 Jan 2015 00:00:00 GMT</z:Win32LastModifiedTime></prop></set></propertyupdate>"
)


def _got(reply: Reply, *absent: int) -> Got:
    if reply.status in (403, *absent, 404):
        return Got.REFUSED if reply.status == 403 else Got.ABSENT
    assert reply.status in (200, 201, 204, 207), (reply.status, reply.body[:300])
    return Got.DONE


@dataclass(frozen=True)
class DavDoor:
    api: Api
    user: str

    def read(self, path: str) -> Got:
        return _got(self._ask("GET", path))

    def names(self, path: str) -> list[str] | Got:
        reply = self._ask("PROPFIND", path, Depth="1")
        if reply.status != 207:
            return _got(reply)
        hrefs = [unquote(href).rstrip("/") for href in re.findall(r"<D:href>([^<]*)</D:href>", reply.text)]
        return [href.rpartition("/")[2] for href in hrefs[1:]]

    def write(self, path: str) -> Got:
        return _got(self._ask("PUT", path, b"other"), 409)

    create = write

    def make_folder(self, path: str) -> Got:
        return _got(self._ask("MKCOL", path), 409)

    def delete(self, path: str) -> Got:
        return _got(self._ask("DELETE", path))

    def move(self, source: str, target: str) -> Got:
        return _got(self._ask("MOVE", source, Destination=f"/dav/{quote(target)}"), 409)

    def copy(self, source: str, target: str) -> Got:
        return _got(self._ask("COPY", source, Destination=f"/dav/{quote(target)}"), 409)

    def touch(self, path: str) -> Got:
        return _got(self._ask("PROPPATCH", path, _TOUCH))

    def lock(self, path: str) -> Got:
        reply = self._ask("LOCK", path, _LOCK, Timeout="Second-60")
        if reply.status == 200:
            assert self._ask("UNLOCK", path, Lock_Token=reply.headers["lock-token"]).status == 204
        return _got(reply, 409)

    def _ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        return self.api.drive.ask(method, f"/dav/{quote(path)}", body, user=self.user, **headers)


@dataclass(frozen=True)
class RestDoor:
    """By ids, which somebody may know of what he may not see."""

    api: Api
    user: str

    def read(self, path: str) -> Got:
        one = f"/files/{self.api.id_of(path)}"
        got = _got(self._ask("GET", f"{one}/download"))
        for also in ("", "/versions", "/history", "/sync-status"):
            assert _got(self._ask("GET", one + also)) is got, also
        assert (self._ask("GET", f"{one}/preview").status == 404) == (got is Got.ABSENT)  # not every type has one
        return got

    def names(self, path: str) -> list[str] | Got:
        one = f"/folders/{self.api.id_of(path)}"
        status, body = self.api.get(f"{one}/children", user=self.user)
        archive = self._ask("GET", f"{one}/zip")
        assert (archive.status == 200) == (status == 200)
        if status != 200:
            return _got(archive)
        names = [each["name"] for each in (*body["folders"], *body["files"])]
        with zipfile.ZipFile(io.BytesIO(archive.body)) as opened:
            inside = {name.split("/")[1] for name in opened.namelist()}
        assert inside - {""} == set(names)
        return names

    def write(self, path: str) -> Got:
        return _got(self._ask("PUT", f"/files/{self.api.id_of(path)}/content", b"other"))

    def create(self, path: str) -> Got:
        above, name = self._split(path)
        query = f"folderId={above}&fileName={name}&conflictStrategy=OVERWRITE"
        return _got(self._ask("POST", f"/files/upload?{query}", b"new"))

    def make_folder(self, path: str) -> Got:
        above, name = self._split(path)
        return _got(self.api.ask("POST", "/folders", json_={"parentId": above, "name": name}, user=self.user))

    def delete(self, path: str) -> Got:
        return _got(self._ask("DELETE", self._one(path)))

    def move(self, source: str, target: str) -> Got:
        above, name = self._split(target)
        if source.rpartition("/")[0] == target.rpartition("/")[0]:
            renamed = {"newName": name}
            return _got(self.api.ask("PUT", f"{self._one(source)}/rename", json_=renamed, user=self.user))
        key = "targetParentId" if self._one(source).startswith("/folders") else "targetFolderId"
        goal = {key: above, "newName": name}
        if key == "targetFolderId":
            goal["conflictStrategy"] = "OVERWRITE"
        return _got(self.api.ask("POST", f"{self._one(source)}/move", json_=goal, user=self.user))

    def copy(self, source: str, target: str) -> Got:
        above, name = self._split(target)
        goal = {"targetFolderId": above, "newName": name}
        return _got(self.api.ask("POST", f"{self._one(source)}/copy", json_=goal, user=self.user))

    def touch(self, path: str) -> Got | None:
        return None

    def lock(self, path: str) -> Got | None:
        return None

    def _one(self, path: str) -> str:
        entry = resolve(self.api.drive.kelp, ADMIN, path.split("/")).entry
        assert entry is not None, path
        return f"/{'folders' if entry.is_folder else 'files'}/{entry.uuid}"

    def _split(self, path: str) -> tuple[str, str]:
        above, _, name = path.rpartition("/")
        return self.api.id_of(above), name

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Reply:
        return self.api.ask(method, path, body=body, user=self.user)
