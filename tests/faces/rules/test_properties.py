"""R7 to R10, R18: properties and times, over real sockets."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.faces.rules.requests import WIN, lock, propfind, proppatch, values

# --- R7 to R10: properties ------------------------------------------------------------------------


def test_r7_etag_is_the_same_everywhere_and_changes_with_content_only(drive, folder) -> None:
    def etag() -> str:
        shown = values(propfind(drive, folder + "f", "<D:getetag/>"))["{DAV:}getetag"]
        assert (
            shown == drive.ask("HEAD", folder + "f").headers["etag"] == drive.ask("GET", folder + "f").headers["etag"]
        )
        return shown

    put = drive.ask("PUT", folder + "f", b"1")
    first = etag()
    assert re.fullmatch(r'"[^"]+"', first) and put.headers["etag"] == first and "last-modified" in put.headers
    _, token = lock(drive, folder + "f")
    proppatch(drive, folder + "f", "<Z:x>1</Z:x>", If=f"(<{token}>)")
    drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>")
    drive.ask("MOVE", folder + "f", Destination=folder + "g")
    drive.ask("MOVE", folder + "g", Destination=folder + "f")
    assert etag() == first
    assert drive.ask("PUT", folder + "f", b"1").headers["etag"] != first
    assert drive.ask("GET", folder + "f", Range="bytes=0-0").headers["etag"] == etag()


def test_r8_each_content_shows_another_second(drive, folder) -> None:
    dates = [drive.ask("PUT", folder + "f", b"%d" % n).headers["last-modified"] for n in range(3)]
    drive.ask("DELETE", folder + "f")
    dates.append(drive.ask("PUT", folder + "f", b"again").headers["last-modified"])
    assert len(set(dates)) == 4 and all(date.endswith(" GMT") for date in dates)
    shown = values(propfind(drive, folder + "f"))
    assert shown["{DAV:}getlastmodified"] == dates[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown["{DAV:}creationdate"])
    assert shown["{DAV:}getcontentlength"] == "5" and shown["{DAV:}displayname"] == "f"
    assert not {"{DAV:}getcontentlength", "{DAV:}getcontenttype", "{DAV:}getetag"} & set(
        values(propfind(drive, folder))
    )


def test_r9_unknown_names_propname_include_and_quota(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    reply = propfind(drive, folder + "f", '<D:getetag/><x:no xmlns:x="urn:x"/>')
    assert reply.status == 207
    assert set(values(reply)) == {"{DAV:}getetag"} and set(values(reply, "404")) == {"{urn:x}no"}
    proppatch(drive, folder + "f", "<Z:dead>1</Z:dead>")
    names = values(propfind(drive, folder + "f", body=b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'))
    assert {"{DAV:}getetag", "{DAV:}resourcetype", f"{{{WIN}}}dead"} <= set(names) and not any(names.values())
    include = b'<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><D:supportedlock/></D:include></D:propfind>'
    assert "{DAV:}supportedlock" in values(propfind(drive, folder + "f", body=include))
    quota = values(propfind(drive, folder, "<D:quota-available-bytes/><D:quota-used-bytes/>"))
    assert len(quota) == 2 and all(int(value) > 0 for value in quota.values())
    assert not set(quota) & set(values(propfind(drive, folder)))
    assert "{DAV:}supportedlock" in values(propfind(drive, folder + "f", "<D:supportedlock/>", user="viewer"), "404")


def test_r10_depths(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    for headers in ({"Depth": "infinity"}, {}):
        reply = drive.ask("PROPFIND", folder, **headers)
        assert reply.status == 403 and "<D:error" in reply.text and "<D:propfind-finite-depth/>" in reply.text
    assert drive.ask("PROPFIND", folder + "f").status == 207
    assert drive.ask("PROPFIND", folder, Depth="2").status == 400
    reply = propfind(drive, folder, depth="1")
    responses = reply.text.split("<D:response>")[1:]
    assert len(responses) == 2 and all(len(one) <= 600 for one in responses)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<D:propfind", 400),
        (b'<D:propfind xmlns:D="DAV:"/>', 400),
        (b'<D:other xmlns:D="DAV:"/>', 400),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>', 400),
        (b'<D:propfind xmlns:D="DAV:"><D:prop>' + b"<D:a>" * 100 + b"</D:a>" * 100 + b"</D:prop></D:propfind>", 413),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', 400),
        (b"\xff\xfe\x00", 400),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_xml_that_is_no_request(drive, folder, body, status) -> None:
    assert drive.ask("PROPFIND", folder, body, Depth="0").status == status
    assert drive.ask("PROPPATCH", folder, body).status == status
    assert drive.ask("LOCK", folder, body).status in (status, 400)


# --- R18: PROPPATCH and times ---------------------------------------------------------------------


def test_r18_windows_times(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    sent = {
        "Win32CreationTime": "Sat, 12 Sep 2020 10:00:00 GMT",
        "Win32LastAccessTime": "Sun, 13 Sep 2020 11:00:00 GMT",
        "Win32LastModifiedTime": "Sun, 13 Sep 2020 12:26:40 GMT",
        "Win32FileAttributes": "00000020",
    }
    for path in (folder + "f", folder):
        _, token = lock(drive, path, Depth="0")
        inner = "".join(f"<Z:{name}>{value}</Z:{name}>" for name, value in sent.items())
        assert proppatch(drive, path, inner).status == 423
        reply = proppatch(drive, path, inner, If=f"(<{token}>)")
        assert reply.status == 207 and set(values(reply)) == {f"{{{WIN}}}{name}" for name in sent}
        shown = values(propfind(drive, path))
        assert {name: shown[f"{{{WIN}}}{name}"] for name in sent} == sent
        assert shown["{DAV:}getlastmodified"] == sent["Win32LastModifiedTime"]
        assert shown["{DAV:}creationdate"] == "2020-09-12T10:00:00Z"
        drive.ask("UNLOCK", path, Lock_Token=f"<{token}>")
    drive.ask("PUT", folder + "f", b"new")
    shown = values(propfind(drive, folder + "f"))
    assert shown[f"{{{WIN}}}Win32LastModifiedTime"] == shown["{DAV:}getlastmodified"] != sent["Win32LastModifiedTime"]


@pytest.mark.parametrize("value", ["1500000000", "Fri, 14 Jul 2017 02:40:00 GMT"])
@pytest.mark.parametrize("name", ["getlastmodified", "lastmodified"])
def test_r18_modification_time(drive, folder, name, value) -> None:
    drive.ask("PUT", folder + "f", b"")
    assert set(values(proppatch(drive, folder + "f", f"<D:{name}>{value}</D:{name}>"))) == {f"{{DAV:}}{name}"}
    assert drive.ask("HEAD", folder + "f").headers["last-modified"] == "Fri, 14 Jul 2017 02:40:00 GMT"


def test_r18_all_or_nothing(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    good = '<x:executable xmlns:x="http://apache.org/dav/props/">T</x:executable>'
    for bad, status in [("<D:getetag>x</D:getetag>", "403"), ("<D:getlastmodified>soon</D:getlastmodified>", "409")]:
        reply = proppatch(drive, folder + "f", good + bad)
        assert reply.status == 207 and not values(reply)
        assert set(values(reply, status)) and set(values(reply, "424")) == {"{http://apache.org/dav/props/}executable"}
    assert "executable" not in propfind(drive, folder + "f").text
    assert set(values(proppatch(drive, folder + "f", good))) == {"{http://apache.org/dav/props/}executable"}
    assert values(propfind(drive, folder + "f"))["{http://apache.org/dav/props/}executable"] == "T"
    assert proppatch(drive, folder + "no", good).status == 404


def test_r18_x_oc_mtime_and_checksums(drive, folder) -> None:
    digest = hashlib.sha1(b"data").hexdigest()
    reply = drive.ask("PUT", folder + "f", b"data", X_OC_Mtime="1600000000", OC_Checksum=f"SHA1:{digest}")
    assert (reply.status, reply.headers["x-oc-mtime"]) == (201, "accepted")
    assert reply.headers["last-modified"] == "Sun, 13 Sep 2020 12:26:40 GMT"
    reply = drive.ask("PUT", folder + "g", b"", X_OC_Mtime="soon")
    assert reply.status == 201 and "x-oc-mtime" not in reply.headers
    asked = '<oc:checksums xmlns:oc="http://owncloud.org/ns"/>'
    sums = f"<oc:checksum>SHA1:{digest} MD5:{hashlib.md5(b'data').hexdigest()}</oc:checksum>"
    assert sums in propfind(drive, folder + "f", asked).text
    listed = propfind(drive, folder, asked, "1")
    assert sums in listed.text
    for method in ("COPY", "MOVE"):
        reply = drive.ask(method, folder + "f", Destination=folder + method, X_OC_Mtime="1500000000")
        assert reply.headers["x-oc-mtime"] == "accepted"
        assert "2017" in drive.ask("HEAD", folder + method).headers["last-modified"]
    assert drive.ask("MKCOL", folder + "d", X_OC_Mtime="1500000000").headers["x-oc-mtime"] == "accepted"
    assert "2017" in values(propfind(drive, folder + "d"))["{DAV:}getlastmodified"]
