"""What a recording says instead of names, and what of it stays."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote

import pytest

from dav_provider.known_paths import KnownPaths
from dav_provider.pseudonyms import Pseudonyms, xml_without_values
from tests.nasty_names import NASTY_NAMES

names = Pseudonyms(b"secret", "dav")


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in NASTY_NAMES if name != "..."),
        "report.docx",
        "Report.docx",
        "REPORT.docx",
        "Zoë.txt",
        "x" * 254,
        "y" * 200,
    ],
)
def test_a_name_becomes_another_of_its_kind(name: str) -> None:
    other = names.name(name)
    assert other == names.name(name) != Pseudonyms(b"other", "dav").name(name)
    assert name.isascii() == other.isascii()
    assert (unicodedata.normalize("NFC", name) == name) == (unicodedata.normalize("NFC", other) == other)
    assert (len(name.encode()) > 200) <= (len(other.encode()) > 190) and len(other.encode()) <= 255
    assert set(re.findall(r"[ #%&+;?'\"<>:\\]", name)) <= set(other)


def test_both_normal_forms_stay_one_name_and_cases_two() -> None:
    assert unicodedata.normalize("NFC", names.name("Zoe\u0308.txt")) == names.name("Zo\u00eb.txt")
    assert names.name("A") != names.name("a") and names.name("A").casefold() == names.name("a").casefold()
    assert len({names.name(f"{n}.txt") for n in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("~$plan.docx", r"~\$\w+\.docx"),
        ("._plan.mov", r"\._\w+\.mov"),
        (".~lock.plan.odt#", r"\.~lock\.\w+\.odt#"),
        (".plan.txt.swp", r"\.\w+\.txt\.swp"),
        ("plan.txt~", r"\w+\.txt~"),
        ("plan.txt.sb-1a2b3c4d-Xy12Za", r"\w+\.txt\.sb-1a2b3c4d-Xy12Za"),
        ("~WRD0001.tmp", r"~WRD0001\.tmp"),
        (".DS_Store", r"\.DS_Store"),
        ("desktop.ini", "desktop.ini"),
    ],
)
def test_temporary_files_stay_what_they_are(name: str, pattern: str) -> None:
    assert re.fullmatch(pattern, names.name(name))
    assert "plan" not in names.name(name)


def test_the_same_name_within_a_temporary_one() -> None:
    assert names.name("~$plan.docx") == "~$" + names.name("plan.docx")


def test_paths() -> None:
    a, b = (quote(names.name(name)) for name in ("a b", "c.txt"))
    assert names.path("/dav/a%20b/c.txt") == f"{{drive}}/{unquote(a)}/{b}".replace(" ", "%20")
    assert (names.path("/"), names.path("/dav"), names.path("/dav/")) == ("/", "{drive}", "{drive}/")
    assert names.path("/dav/../%2e%2e/") == "{drive}/../%2e%2e/"
    assert names.path("/dav/a%2Fb") == "{drive}/malformed%2F" and names.path("/dav/%ff") == "{drive}/malformed%FF"
    hosts = frozenset({"nas.example:8080"})
    assert names.url("https://me:pw@NAS.example:8080/dav/", hosts) == "https://u:p@{host}{drive}/"
    assert names.url("http://other.example/dav/", hosts) == "http://elsewhere.example{drive}/"


def test_xml_keeps_elements_and_dates_only() -> None:
    body = b"""<?xml version="1.0"?>\n<D:a xmlns:D="DAV:" note="me">\n <D:href>mailto:me@example.org</D:href>
      <D:t>00000020</D:t>
      <D:d>Thu, 12 Nov 2026 08:00:00 GMT</D:d></D:a>"""
    text = xml_without_values(body)
    assert text is not None and "me@" not in text and 'note="x"' in text and "\n" not in text
    assert (
        '<?xml version="1.0"?>' in text and 'xmlns:D="DAV:"' in text and ">00000020<" in text and ">Thu, 12 Nov" in text
    )
    for odd in (
        b"<a><![CDATA[me]]></a>",
        b"<!DOCTYPE a><a/>",
        b"<a>{drive}</a>",
        b"<a><?me too?></a>",
        b"\xff\xfe<",
        b"text",
    ):
        assert xml_without_values(odd) is None


def test_what_has_to_be_there_before() -> None:
    known = KnownPaths()
    assert known.needed("GET", 200, "{drive}/a/f", None, {"ETag": "x", "Content-Length": "7"}) == ["file {drive}/a/f 7"]
    assert known.needed("PUT", 201, "{drive}/a/g", None, {}) == [], "its folder is known by now"
    known.after("PUT", 201, "{drive}/a/g", None)
    assert known.needed("MOVE", 201, "{drive}/a", "{drive}/b", {}) == []
    known.after("MOVE", 201, "{drive}/a", "{drive}/b")
    assert known.needed("DELETE", 204, "{drive}/b/g", None, {}) == []
    known.after("DELETE", 204, "{drive}/b/", None)
    assert known.needed("PROPFIND", 207, "{drive}/b/", None, {}) == ["folder {drive}/b"]
    assert known.needed("GET", 404, "{drive}/c", None, {}) == []
