"""Ids that are there, to be asked for: made anew where they were used up."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import schemathesis
from hypothesis import strategies as st

from tests.faces.api.conftest import Api

_LISTS = {  # where the API lists them: path, name of the list
    "sync-events": ("/sync-events?limit=5", "syncEvents"),
    "alerts": ("/alerts?all=true", "alerts"),
    "trash": ("/trash", "items"),
    "ip-policies": ("/ip-policies", "policies"),
    "users": ("/users", "users"),
    "groups": ("/groups", "groups"),
    "tokens": ("/tokens", "tokens"),
    "locks": ("/locks", "locks"),
}
_OWN = ("admin", "other", "viewer")  # who asks: not to be renamed or removed
_OF_FOLDERS = ("targetFolderId", "targetParentId", "parentId", "folderId")


class KnownIds:
    def __init__(self, api: Api, user: str) -> None:
        """`user`: whose uploads they are; "" for nobody's."""
        self._api, self._user, self._made = api, user or "admin", 0
        self._by_noun: dict[str, list[str]] = {}
        self._inner: dict[str, list[str]] = {}

    def refresh(self, path: str) -> None:
        """See that there is something for `{id}` of this path, and what is below it."""
        noun = _noun(path)
        self._inner = {}
        if noun in ("files", "folders"):
            self._tree(path)
        elif noun in ("multipart", "tus"):
            self._by_noun[noun] = [self._upload(noun)]
            self._inner = {"number": ["1", "2"]} if "{number}" in path else {}
        else:
            self._make(noun)
            where, name = _LISTS.get(noun, ("", ""))
            found = self._api.get(where)[1].get(name, []) if where else []
            self._by_noun[noun] = [each["id"] for each in found if each.get("name") not in _OWN]
            self._look_below(noun, path)

    def _tree(self, path: str) -> None:
        api = self._api
        if not api.exists("Bücher"):
            api.make_folder("Bücher")
        if not api.exists("Bücher/naïve 한글.txt"):
            api.make_file("Bücher/naïve 한글.txt", b"first")
            self._api.drive.ask("PUT", f"/dav/{quote('Bücher/naïve 한글.txt')}", b"second", user="other")  # a version
        file, folder = api.id_of("Bücher/naïve 한글.txt"), api.id_of("Bücher")
        self._by_noun.update(files=[file], folders=[folder, "root"])
        for noun, name, of in (("version", "versions", f"files/{file}"), ("grant", "grants", f"folders/{folder}")):
            if f"{{{noun}}}" in path:
                listed = api.get(f"/{of}/{name}")[1].get(name, [])
                self._inner[noun] = [each["id"] for each in listed]

    def _upload(self, noun: str) -> str:
        """One that has just begun."""
        if noun == "tus":
            told = {"Tus_Resumable": "1.0.0", "Upload_Length": "9", "Upload_Metadata": "filename YS50eHQ="}
            return self._api.ask("POST", "/tus", user=self._user, **told).headers.get("location", "").rpartition("/")[2]
        body = {"fileName": f"upload-{self._made}", "totalSize": 9, "conflictStrategy": "RENAME"}
        begun = self._api.post("/files/multipart/initiate", json=body, user=self._user)[1]
        return str(begun.get("sessionId", "none"))  # a viewer's is refused

    def _make(self, noun: str) -> None:
        self._made += 1
        api, name = self._api, f"made-{self._made}"
        match noun:
            case "users":
                api.post("/users", json={"name": name, "password": "correct horse", "role": "viewer"})
            case "groups":
                api.post("/groups", json={"name": name})
            case "tokens":
                api.post("/tokens", json={"name": name, "kind": "bearer", "scopes": ["read"]})
            case "ip-policies":
                rules = [{"cidr": "192.0.2.0/24", "note": ""}]
                api.post("/ip-policies", json={"name": name, "kind": "black", "enabled": True, "rules": rules})
            case "trash":
                api.make_file(name)
                api.delete(f"/files/{api.id_of(name)}")

    def _look_below(self, noun: str, path: str) -> None:
        if path.count("{") < 2:
            return
        for id in self._by_noun[noun][-1:]:
            if noun == "ip-policies":
                self._inner["rule"] = [each["id"] for each in self._api.get(f"/{noun}/{id}/rules")[1]["rules"]]
            if noun == "groups" and (users := self._by_noun.get("users")):
                self._inner["user"] = users

    def put_into(self, case: schemathesis.Case, data: st.DataObject) -> None:
        """Real ids in place of most that were made up; and nothing that would lock out who asks."""
        noun = _noun(case.path)
        known = self._by_noun.get(noun, [])
        known = known[-1:] if self._inner else known  # the one that has something below it
        for name in case.path_parameters or {}:
            self._put(case.path_parameters, name, known if name == "id" else self._inner.get(name, []), data)
        for name in ("cursor", "modifiedAt"):  # made up, they are hardly ever right
            if isinstance(case.query, dict) and name in case.query and data.draw(st.booleans()):
                del case.query[name]
        if case.path.endswith("/upload") and isinstance(case.query, dict):
            self._put(case.query, "fileName", ["sent.txt", "한글.bin"], data)
            self._put(case.query, "conflictStrategy", ["RENAME", "OVERWRITE"], data)
        for members in (case.body, case.query):
            if not isinstance(members, dict):
                continue
            for name in [each for each in _OF_FOLDERS if each in members]:
                self._put(members, name, self._by_noun.get("folders", []), data)
            for name, of in (("userId", "users"), ("fileId", "files"), ("groupId", "groups")):
                if name in members:
                    self._put(members, name, self._by_noun.get(of, []), data)
            if members.get("force"):
                members["force"] = False

    @staticmethod
    def _put(members: Any, name: str, known: list[str], data: st.DataObject) -> None:
        if known and data.draw(st.integers(0, 3)) < 3:
            members[name] = data.draw(st.sampled_from(known))


def _noun(path: str) -> str:
    """What `{id}` of a path below `/api` is."""
    words = path.split("/")
    return "multipart" if "multipart" in words else words[2]
