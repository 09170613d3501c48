"""The player itself: it notices what is wrong. One that accepted anything would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faces.conftest import ServedDrive
from tests.faces.replay_format import Content, Malformed, parse
from tests.faces.replay_player import Stage, made_up, play

STEPS = """
== 1
> PUT {drive}/f
@ send a[:10]
< 201
< ETag: {E?}
== 2
@ given file {drive}/deep/er/g 20
> GET {drive}/f
"""
RIGHT = """
< 200|206
< Content-Length: 10
< ETag: {E}
< Content-Type: *
<! Content-Range
<= a[:10]
? 10 >= 3
== 3
> PROPFIND {drive}/deep/er/
> Depth: 1
< 207
<~ <D:getcontentlength>{size?}</D:getcontentlength>
<!~ <D:getcontentlength>21<
? {size} == 20
repeat n in 1..4, 4 wide
== 4
> MKCOL {drive}/same
< 201|405
end
tally 201: 1, 405: 3
"""
WRONG = [
    "< 404",
    "< 200\n< Content-Length: 11",
    "< 200\n< Content-Length: 1",
    '< 200\n< ETag: "x"',
    "< 200\n< X-Absent: *",
    "< 200\n<! ETag",
    "< 200\n<~ abc",
    "< 200\n<!~ *",
    "< 200\n<= a[:9]",
    "< 200\n<= b[:10]",
    "< 200\n? 10 < 3",
    "< 200\nrepeat n in 1..2, 2 wide\n== 3\n> MKCOL {drive}/other\n< 201|405\nend\ntally 201: 2",
]


def _play(drive: ServedDrive, folder: Path, text: str, name: str = "drive") -> None:
    file = folder / "x.replay"
    file.write_text(text)
    stage = Stage(drive.port, f"/dav/{name}", {"U1": "admin", "U2": "other"}, keep_connections=True)
    play(file, stage)


def test_what_is_right_passes(shared_drive: ServedDrive, tmp_path: Path) -> None:
    _play(shared_drive, tmp_path, STEPS + RIGHT, "right")


@pytest.mark.parametrize("expectation", WRONG)
def test_what_is_wrong_does_not(shared_drive: ServedDrive, tmp_path: Path, expectation: str) -> None:
    with pytest.raises(AssertionError, match=r"x\.replay:\d+"):
        _play(shared_drive, tmp_path, STEPS + expectation, f"wrong{WRONG.index(expectation)}")


@pytest.mark.parametrize(
    "line", ["x", "> GET /", "== 1\n@ dance", "== 1\n<= a[b]", "== 1\n> GET /\n> Depth", "tally 1:1"]
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "x.replay"
    file.write_text(line)
    with pytest.raises(Malformed, match=r"x\.replay:\d"):
        parse(file)


def test_made_up_content_has_no_seams() -> None:
    whole = made_up(Content("x", 0, 300_000))
    assert len(whole) == 300_000
    assert made_up(Content("x", 65_536, 200_001)) == whole[65_536:200_001]
    assert made_up(Content("y", 0, 100)) != whole[:100]
