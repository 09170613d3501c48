"""Single sentences of the rules R1 to R22 that no other test reads out."""

from __future__ import annotations

import contextlib

import pytest

from tests.faces.rules.requests import METHODS, head, lock, propfind, proppatch, raw, values


def test_r1_the_asterisk(drive) -> None:
    answer = raw(drive, head(drive, "OPTIONS", "*", "Connection: close")).decode()
    assert answer.startswith("HTTP/1.1 200 ") and "\r\nDAV: 1, 2\r\n" in answer
    allowed = answer.partition("Allow: ")[2].partition("\r\n")[0].split(", ")
    assert set(allowed) >= METHODS


@pytest.mark.parametrize("body", [b"", b"small", bytes(60_000)])
def test_r2_the_connection_stays_usable_after_a_401(drive, body) -> None:
    with contextlib.closing(drive.connect()) as connection:
        for authorization, status in (("Bearer", 401), (drive.basic(), 201)):
            connection.request("PUT", f"/dav/r2-{len(body)}", body, {"Authorization": authorization})
            socket = connection.sock
            reply = connection.getresponse()
            reply.read()
            assert reply.status == status and connection.sock is socket, "the connection was closed"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_r6_every_method_takes_both_forms(drive, folder, slash, kind) -> None:
    """Of an address that a client writes with and without a final slash, whatever is there."""
    path = folder + "x"
    assert drive.ask("PUT" if kind == "file" else "MKCOL", path + slash).status == 201
    assert propfind(drive, path + slash).text.count("<D:response>") == 1
    assert proppatch(drive, path + slash, "<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes>").status == 207
    assert drive.ask("HEAD", path + slash).status == drive.ask("OPTIONS", path + slash).status == 200
    reply, token = lock(drive, path + slash)
    assert reply.status == 200 and f"<D:href>{path}{'/' if kind == 'folder' else ''}</D:href>" in reply.text
    assert drive.ask("UNLOCK", path + slash, Lock_Token=f"<{token}>").status == 204
    assert drive.ask("COPY", path + slash, Destination=folder + "y" + slash).status == 201
    assert drive.ask("MOVE", path + slash, Destination=folder + "y" + slash).status == 204
    assert drive.ask("DELETE", folder + "y" + slash).status == 204


def test_r7_only_contents_change_the_entity_tag(drive, folder) -> None:
    path = folder + "f"
    etag = drive.ask("PUT", path, b"1").headers["etag"]
    _, token = lock(drive, path)
    proppatch(drive, path, "<Z:Win32LastModifiedTime>Sun, 13 Sep 2020 12:26:40 GMT</Z:Win32LastModifiedTime>",
              If=f"(<{token}>)")  # fmt: skip
    drive.ask("UNLOCK", path, Lock_Token=f"<{token}>")
    drive.ask("MOVE", path, Destination=folder + "g")
    path = folder + "g"
    for method, status, headers in [
        ("GET", 200, {}),
        ("HEAD", 200, {}),
        ("GET", 206, {"Range": "bytes=0-0"}),
        ("GET", 304, {"If_None_Match": etag}),
    ]:
        reply = drive.ask(method, path, **headers)
        assert (reply.status, reply.headers["etag"]) == (status, etag) and "last-modified" in reply.headers
    assert values(propfind(drive, path, "<D:getetag/>")) == {"{DAV:}getetag": etag}
    assert drive.ask("PUT", path, b"1").headers["etag"] != etag, "a new content, though of the same bytes"


def test_r9_quota_and_what_allprop_leaves_out(drive, folder) -> None:
    names = "<D:quota-available-bytes/><D:quota-used-bytes/><D:quota/><D:quotaused/>"
    asked = propfind(drive, folder, names)
    assert all(int(value) > 0 for value in values(asked).values()) and len(values(asked)) == 2
    assert set(values(asked, "404")) == {"{DAV:}quota", "{DAV:}quotaused"}
    everything = set(values(propfind(drive, folder)))
    assert not {name for name in everything if "quota" in name or "supportedlock" in name}


def test_r9_no_lock_is_promised_where_none_is_granted(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    for path in (folder + "f", folder):
        for user, promised in (("other", True), ("viewer", False)):
            seen = propfind(drive, path, "<D:supportedlock/>", user=user)
            assert ("{DAV:}supportedlock" in values(seen)) == promised
            reply, token = lock(drive, path, user=user)
            assert reply.status == (200 if promised else 403)
            if promised:
                assert drive.ask("UNLOCK", path, Lock_Token=f"<{token}>", user=user).status == 204


def test_r13_a_refresh_is_refused_when_no_list_holds(drive, folder) -> None:
    _, token = lock(drive, folder + "f", Timeout="Second-100")
    etag = drive.ask("HEAD", folder + "f").headers["etag"]
    for condition, status in [
        (f'(<{token}> ["stale"])', 412),
        (f"(<{token}> [{etag}])", 200),
        (f"(<urn:uuid:unknown>) (<{token}>)", 200),
        (f"<{folder}elsewhere> (<{token}>)", 200),
        (f"(Not <{token}>)", 400),
    ]:
        assert drive.ask("LOCK", folder + "f", If=condition).status == status, condition
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>", If='(["stale"])').status == 412
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>", If=f"(<{token}> [{etag}])").status == 204


def test_r16_what_lies_in_the_way_of_itself(drive, folder) -> None:
    for path in ("a", "a/b", "a/b/c"):
        drive.ask("MKCOL", folder + path)
    drive.ask("PUT", folder + "a/f", b"kept")
    for method in ("MOVE", "COPY"):
        for source, target in (("a/b", "a"), ("a/b/c", "a"), ("a/f", "a"), ("a", "a/b"), ("a", "a")):
            assert drive.ask(method, folder + source, Destination=folder + target).status == 403, (method, source)
    assert drive.ask("GET", folder + "a/f").body == b"kept"
    assert drive.ask("HEAD", folder + "a/b/c").status == 200


def test_r16_kinds_replace_each_other(drive, folder) -> None:
    drive.ask("MKCOL", folder + "a")
    drive.ask("PUT", folder + "a/in", b"in")
    drive.ask("PUT", folder + "f", b"file")
    assert drive.ask("COPY", folder + "a", Destination=folder + "f").status == 204
    assert drive.ask("GET", folder + "f/in").body == b"in"
    assert drive.ask("MOVE", folder + "f/in", Destination=folder + "a", Overwrite="F").status == 412
    assert drive.ask("MOVE", folder + "f/in", Destination=folder + "a").status == 204
    assert drive.ask("GET", folder + "a").body == b"in"


def test_r_n1_a_name_may_change_its_case_or_its_normal_form(drive, folder) -> None:
    drive.ask("PUT", folder + "%C3%A9", b"1")
    for target, overwrite in (("e%CC%81", "F"), ("%C3%A9", "T")):
        asked = {"Destination": folder + target, "Overwrite": overwrite}
        assert drive.ask("MOVE", folder + "%C3%A9", **asked).status == 201
        shown = values(propfind(drive, folder + "%C3%A9", "<D:displayname/>"))["{DAV:}displayname"]
        assert shown.encode() == bytes.fromhex(target.replace("%", "").replace("e", "65") if "e" in target else "C3A9")
    drive.ask("PUT", folder + "readme", b"2")
    assert drive.ask("MOVE", folder + "readme", Destination=folder + "README", Overwrite="F").status == 201
    assert drive.ask("GET", folder + "README").body == b"2"


def test_r17_if_none_match_on_a_folder(drive, folder) -> None:
    assert drive.ask("HEAD", folder, If_None_Match="*").status == 304


def test_r16_depth_of_a_file_is_ignored(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    assert drive.ask("COPY", folder + "f", Destination=folder + "g", Depth="7").status == 201


def test_r18_times_before_1970(drive, folder) -> None:
    """Windows writes its own zero, the year 1601, where a file has no time."""
    drive.ask("PUT", folder + "f", b"")
    reply = proppatch(drive, folder + "f", "<Z:Win32CreationTime>Mon, 01 Jan 1601 00:00:00 GMT</Z:Win32CreationTime>")
    assert "200 OK" in reply.text
