"""Failures that other servers showed their users, where no rule's test comes by already; see ../failures."""

from __future__ import annotations

import contextlib
import re
import socket
import xml.etree.ElementTree as ET

import pytest

from dav_provider.paths import MOUNT_HREF
from tests.faces.rules.requests import head, lock, propfind, proppatch, raw, values
from vfs.operations import access, locking

EXPLORER = "Microsoft-WebDAV-MiniRedir/10.0.26100"


@pytest.mark.parametrize("user", ["admin", "other", "viewer"])
def test_every_parent_of_a_mount_answers_every_user(drive, folder, user) -> None:
    """Explorer asks for each of them before it maps a drive, without a final slash; else error 67."""
    above = [folder.rstrip("/"), "/dav", "/"]
    for path in above:
        assert drive.ask("OPTIONS", path, user=user, User_Agent="DavClnt").status == 200
        reply = propfind(drive, path, depth="0", user=user)
        assert reply.status == 207 and reply.text.count("<D:response>") == 1
        assert "<D:collection/>" in reply.text


def test_a_request_without_a_password_in_between_loses_nothing(drive, folder) -> None:
    """Windows asks without credentials again after a pause, over the same connection."""
    for name in ("f", "taken"):
        drive.ask("PUT", folder + name, name.encode())
    with contextlib.closing(drive.connect()) as connection:
        for target, password, status in (("taken", True, 412), ("g", False, 401), ("g", True, 201)):
            login = {"Authorization": drive.basic()} if password else {}
            headers = {"Destination": folder + target, "Overwrite": "F", "User-Agent": EXPLORER}
            connection.request("MOVE", folder + "f", headers=headers | login)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == status
    assert drive.ask("GET", folder + "g").body == b"f"


@pytest.mark.parametrize(
    "element", ["<a/>", '<x:a.b-c xmlns:x="urn:x"/>', '<x:é xmlns:x="http://e/?a&amp;b"/>', '<D:own xmlns:D="DAV:x"/>']
)
def test_an_answer_to_proppatch_names_the_properties_as_they_were_sent(drive, folder, element) -> None:
    sent = {ET.fromstring(element).tag}
    reply = proppatch(drive, folder, element)
    assert reply.status == 207 and set(values(reply)) == sent
    body = f'<D:propfind xmlns:D="DAV:"><D:prop>{element}</D:prop></D:propfind>'.encode()
    assert set(values(propfind(drive, folder, body=body))) == sent


def test_a_save_that_is_cut_leaves_the_old_text_and_its_lock_can_go(drive, folder) -> None:
    drive.ask("PUT", folder + "d.docx", b"old text")
    _, token = lock(drive, folder + "d.docx")
    cut = head(drive, "PUT", folder + "d.docx", f"If: (<{token}>)", "Content-Length: 100") + b"new"
    assert raw(drive, cut, finish=True).startswith(b"HTTP/1.1 400 ")
    assert drive.ask("GET", folder + "d.docx").body == b"old text"
    assert drive.ask("UNLOCK", folder + "d.docx", Lock_Token=f"<{token}>").status == 204
    assert drive.ask("PUT", folder + "d.docx", b"new text", user="other").status == 204


def test_a_rename_over_a_file_leaves_nothing_at_the_old_name(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"old")
    drive.ask("PUT", folder + "f.__tmp", b"new")
    assert drive.ask("MOVE", folder + "f.__tmp", Destination=folder + "f", Overwrite="T").status == 204
    assert drive.ask("GET", folder + "f").body == b"new"
    assert drive.ask("HEAD", folder + "f.__tmp").status == 404
    assert propfind(drive, folder, depth="1").text.count("<D:response>") == 2


@pytest.mark.parametrize("source", ["a", "a/"])
@pytest.mark.parametrize("target", ["b", "b/"])
def test_folders_are_renamed_with_and_without_slashes(drive, folder, source, target) -> None:
    drive.ask("MKCOL", folder + "a")
    drive.ask("PUT", folder + "a/in", b"x")
    assert drive.ask("MOVE", folder + source, Destination=folder + target, Overwrite="F").status == 201
    assert drive.ask("GET", folder + "b/in").body == b"x"


def test_what_only_files_have_is_missing_on_folders_without_harm(drive, folder) -> None:
    asked = "<D:getcontenttype/><D:getcontentlength/><D:getetag/><D:resourcetype/>"
    drive.ask("PUT", folder + "f", b"")
    for depth in ("0", "1"):
        reply = propfind(drive, folder, asked, depth)
        assert reply.status == 207 and set(values(reply)) == {"{DAV:}resourcetype"}
        assert len(values(reply, "404")) == 3


def test_no_dot_in_the_path_of_the_drive() -> None:
    """Office takes another code path for addresses with one, and drops its lock."""
    assert "." not in MOUNT_HREF


def test_a_refresh_makes_no_second_lock(drive, folder) -> None:
    _, token = lock(drive, folder + "f")
    for _ in range(3):
        assert drive.ask("LOCK", folder + "f", If=f"(<{token}>)", Timeout="Second-3600").status == 200
    assert propfind(drive, folder + "f", "<D:lockdiscovery/>").text.count("<D:activelock>") == 1
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>").status == 204
    assert lock(drive, folder + "f", user="other")[0].status == 200


def test_head_of_a_document_tells_all_that_office_looks_at(drive, folder) -> None:
    office = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    drive.ask("PUT", folder + "d.docx", b"text")
    shown = drive.ask("HEAD", folder + "d.docx", User_Agent="Microsoft Office Existence Discovery")
    assert shown.status == 200 and shown.headers["content-length"] == "4"
    assert shown.headers["content-type"] == office and re.fullmatch(r'"[^"]+"', shown.headers["etag"])
    assert shown.headers["last-modified"].endswith(" GMT") and shown.headers["accept-ranges"] == "bytes"
    assert "www-authenticate" not in shown.headers


def test_a_lock_on_a_new_name_is_told_whole_and_its_file_has_an_etag(drive, folder) -> None:
    """davfs2 takes the ETag from HEAD and sends it with the first PUT."""
    reply, token = lock(drive, folder + "new", owner=b"tester", Depth="0", Timeout="Second-1800")
    assert reply.status == 201
    for part in ("locktype", "lockscope", "depth", "owner", "timeout", "locktoken", "lockroot"):
        assert f"<D:{part}>" in reply.text
    shown = drive.ask("HEAD", folder + "new")
    assert (shown.status, shown.headers["content-length"]) == (200, "0")
    held = f"<http://127.0.0.1:{drive.port}{folder}new> (<{token}>)"
    assert drive.ask("PUT", folder + "new", b"x", If=held, If_Match=shown.headers["etag"]).status == 204


def test_after_an_administrator_broke_a_lock_its_client_can_go_on(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"old")
    _, token = lock(drive, folder + "f", user="other")
    locking.break_lock(drive.kelp, access.system_caller(drive.kelp), token)
    for _ in range(2):
        assert drive.ask("UNLOCK", folder + "f", user="other", Lock_Token=f"<{token}>").status == 409
    assert drive.ask("PUT", folder + "f", b"stale", user="other", If=f"(<{token}>)").status == 412
    assert drive.ask("GET", folder + "f").body == b"old"
    assert lock(drive, folder + "f", user="other")[0].status == 200


def test_the_delete_after_a_refused_put_is_refused_too(drive, folder) -> None:
    """rclone deletes what it believes to be half uploaded."""
    drive.ask("PUT", folder + "f", b"theirs")
    lock(drive, folder + "f", user="other")
    assert drive.ask("PUT", folder + "f", b"mine").status == 423
    assert drive.ask("DELETE", folder + "f").status == 423
    assert drive.ask("GET", folder + "f").body == b"theirs"


def test_a_put_retried_while_the_first_is_open(drive, folder) -> None:
    """The last that is complete wins, and the name is not busy afterwards."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", drive.port), timeout=10)) as first:
        first.sendall(head(drive, "PUT", folder + "f.part", "Content-Length: 5") + b"fi")
        assert drive.ask("PUT", folder + "f.part", b"again").status == 201
        assert drive.ask("MOVE", folder + "f.part", Destination=folder + "f").status == 201
        first.sendall(b"rst")
        assert first.recv(100).startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 204 "))
    assert drive.ask("GET", folder + "f").body == b"again"
    assert drive.ask("GET", folder + "f.part").body == b"first"


def test_an_empty_put_and_then_the_content(drive, folder) -> None:
    assert drive.ask("PUT", folder + "f", b"").status == 201
    assert drive.ask("PUT", folder + "f", b"content").status == 204
    assert drive.ask("GET", folder + "f").body == b"content"


def test_a_chunked_upload_shows_its_true_size(drive, folder) -> None:
    """Finder says the length in X-Expected-Entity-Length only; it is a hint, what arrived counts."""
    for announced in ((), ("X-Expected-Entity-Length: 5",)):
        lines = ("Transfer-Encoding: chunked", "Connection: close", *announced)
        answer = raw(drive, head(drive, "PUT", folder + "f", *lines) + b"5\r\nhello\r\n0\r\n\r\n")
        assert answer[9:12] in (b"201", b"204")
        assert values(propfind(drive, folder + "f", "<D:getcontentlength/>")) == {"{DAV:}getcontentlength": "5"}
