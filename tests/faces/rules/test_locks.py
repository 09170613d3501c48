"""R12 to R15: locks and the If header, over real sockets."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET

import pytest

from tests.faces.rules.requests import lock, propfind


def test_r12_lock_an_existing_file(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    owner = b"<D:href>http://www.apple.com/webdav_fs/</D:href> &amp; more"
    reply, token = lock(drive, folder + "f", owner=owner, Timeout="Second-600")
    assert reply.status == 200 and re.fullmatch(r"(urn:uuid|opaquelocktoken):[-0-9a-f]{36}", token)
    active = ET.fromstring(reply.body).find("{DAV:}lockdiscovery/{DAV:}activelock")
    assert ET.fromstring(reply.body).tag == "{DAV:}prop"
    assert active.findtext("{DAV:}timeout") == "Second-600"
    assert active.findtext("{DAV:}locktoken/{DAV:}href") == token
    assert active.findtext("{DAV:}lockroot/{DAV:}href") == folder + "f"
    assert active.find("{DAV:}lockscope/{DAV:}exclusive") is not None
    assert active.find("{DAV:}locktype/{DAV:}write") is not None
    assert b"<D:owner>" + owner + b"</D:owner>" in reply.body
    seen = propfind(drive, folder + "f", "<D:lockdiscovery/>", user="other")
    assert b"<D:owner>" + owner + b"</D:owner>" in seen.body


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 3600), ("Infinite", 86400), ("Second-999999999999", 86400), ("Infinite, Second-5", 86400), ("Second-5", 5)],
)
def test_r12_timeouts(drive, folder, header, seconds) -> None:
    reply, _ = lock(drive, folder + "new", **({"Timeout": header} if header else {}))
    assert reply.status == 201 and f"<D:timeout>Second-{seconds}</D:timeout>" in reply.text
    assert drive.ask("HEAD", folder + "new").headers["content-length"] == "0"


def test_r12_conflicts(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"1")
    _, token = lock(drive, folder + "f")
    for user in ("other", "admin"):
        reply, _ = lock(drive, folder + "f", user=user)
        assert reply.status == 423
        assert f"<D:no-conflicting-lock><D:href>{folder}f</D:href></D:no-conflicting-lock>" in reply.text
    for method, path, headers in [
        ("PUT", "f", {}),
        ("DELETE", "f", {}),
        ("MOVE", "f", {"Destination": folder + "g"}),
        ("PROPPATCH", "f", {}),
        ("COPY", "x", {"Destination": folder + "f"}),
        ("MOVE", "x", {"Destination": folder + "f"}),
        ("DELETE", "", {}),
    ]:
        drive.ask("PUT", folder + "x", b"x")
        body = b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><a/></D:prop></D:set></D:propertyupdate>'
        reply = drive.ask(method, folder + path, body if method == "PROPPATCH" else None, **headers)
        assert reply.status == 423, (method, path)
        assert f"<D:lock-token-submitted><D:href>{folder}f</D:href></D:lock-token-submitted>" in reply.text
    assert drive.ask("GET", folder + "f", user="other").body == b"1"
    assert drive.ask("COPY", folder + "f", Destination=folder + "copy").status == 201
    assert drive.ask("PUT", folder + "f", b"2", If=f"(<{token}>)", user="other").status in (403, 423)
    assert drive.ask("PUT", folder + "f", b"2", If=f"(<{token}>)").status == 204
    assert lock(drive, folder + "no/f")[0].status == 409


def test_r12_shared_locks(drive, folder) -> None:
    assert lock(drive, folder + "f", scope=b"shared")[0].status == 201
    assert lock(drive, folder + "f", scope=b"shared", user="other")[0].status == 200
    assert lock(drive, folder + "f")[0].status == 423


def test_r12_refused_lock_leaves_no_file(drive, folder) -> None:
    _, token = lock(drive, folder, Depth="infinity")
    reply, _ = lock(drive, folder + "new")
    assert reply.status == 423 and f"<D:href>{folder}</D:href>" in reply.text
    assert drive.ask("HEAD", folder + "new").status == 404
    assert drive.ask("PUT", folder + "n", b"").status == 423
    assert drive.ask("PUT", folder + "n", b"", If=f"<http://anything{folder}> (<{token}>)").status == 201
    assert drive.ask("PUT", folder + "n", b"", If=f"(<{token}>)").status == 204
    assert drive.ask("UNLOCK", folder + "n", Lock_Token=f"<{token}>").status == 204
    assert drive.ask("PUT", folder + "m", b"").status == 201


def test_r13_refresh_and_unlock(drive, folder) -> None:
    _, token = lock(drive, folder + "f", Timeout="Second-100")
    for tag in ("", f"<{folder}f> "):
        reply = drive.ask("LOCK", folder + "f", If=f"{tag}(<{token}>)", Timeout="Second-200")
        assert reply.status == 200 and reply.headers["lock-token"] == f"<{token}>"
        assert "Second-200" in reply.text and token in reply.text
    assert drive.ask("LOCK", folder + "f").status == 400
    assert drive.ask("LOCK", folder + "f", If="(<urn:uuid:unknown>)").status == 412
    assert drive.ask("UNLOCK", folder + "f").status == 400
    assert drive.ask("UNLOCK", folder + "f", Lock_Token="<urn:uuid:unknown>").status == 409
    assert drive.ask("UNLOCK", folder + "gone", Lock_Token=f"<{token}>").status in (404, 409)
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>", user="other").status in (403, 409)
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>").status == 204
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>").status == 409


def test_r14_if_header(drive, folder) -> None:
    etag = drive.ask("PUT", folder + "f", b"").headers["etag"]
    _, token = lock(drive, folder + "locked")
    for condition, status in [
        ('(["stale"])', 412),
        (f"([{etag}])", 204),
        ("(Not <DAV:no-lock>)", 204),
        ('(["stale"]) (Not <urn:x>)', 204),
        ("(<urn:uuid:unknown>)", 412),
        (f"<{folder}unrelated> (<urn:uuid:unknown>)", 204),
        (f"<http://elsewhere:99{folder}locked> (<{token}>)", 204),
        ("nonsense", 400),
        ("(", 400),
        ("()", 400),
    ]:
        etag = drive.ask("HEAD", folder + "f").headers["etag"]
        condition = re.sub(r'\["[0-9a-f-]{36}"\]', f"[{etag}]", condition)
        assert drive.ask("PUT", folder + "f", b"", If=condition).status == status, condition
    assert drive.ask("PUT", folder + "new", b"", If='(["stale"])').status == 412


def test_r14_untagged_list_is_tested_on_the_source_only(drive, folder) -> None:
    drive.ask("PUT", folder + "target", b"old")
    _, token = lock(drive, folder + "source")
    assert drive.ask("MOVE", folder + "source", Destination=folder + "target", If=f"(<{token}>)").status == 204
    assert "activelock" not in propfind(drive, folder + "target", "<D:lockdiscovery/>").text


def test_a_file_moved_over_a_locked_one_is_in_its_lock(drive, folder) -> None:
    """RFC 4918 §7.5; davfs2 sends both tokens with the MOVE of a safe save, and goes on using the target's."""
    _, source = lock(drive, folder + "f.tmp")
    _, target = lock(drive, folder + "f")
    both = f"<{folder}f.tmp> (<{source}>) <{folder}f> (<{target}>)"
    assert drive.ask("MOVE", folder + "f.tmp", Destination=folder + "f", If=both).status == 204
    shown = propfind(drive, folder + "f", "<D:lockdiscovery/>").text
    assert target in shown and source not in shown
    assert drive.ask("PUT", folder + "f", b"more").status == 423
    assert drive.ask("LOCK", folder + "f", b"", If=f"(<{target}>)").status == 200
    assert drive.ask("PUT", folder + "f", b"more", If=f"(<{target}>)").status == 204
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{target}>").status == 204


def test_r15_locks_die_with_their_resource(drive, folder) -> None:
    _, token = lock(drive, folder + "f")
    assert drive.ask("MOVE", folder + "f", Destination=folder + "g", If=f"(<{token}>)").status == 201
    reply, second = lock(drive, folder + "f")
    assert reply.status == 201
    assert drive.ask("PUT", folder + "g", b"").status == 204
    assert drive.ask("DELETE", folder + "f", If=f"(<{second}>)").status == 204
    assert drive.ask("PUT", folder + "f", b"").status == 201


def test_r13_expired_locks_are_gone(drive, folder) -> None:
    _, token = lock(drive, folder + "f", Timeout="Second-1")
    time.sleep(1.2)
    assert "activelock" not in propfind(drive, folder + "f", "<D:lockdiscovery/>").text
    assert drive.ask("PUT", folder + "f", b"", If=f"(<{token}>)").status == 412
    assert drive.ask("LOCK", folder + "f", If=f"(<{token}>)").status == 412
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>").status == 409
    assert drive.ask("PUT", folder + "f", b"", user="other").status == 204
