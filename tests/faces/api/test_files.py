"""Files by their ids: look, rename, move, copy, delete."""

from __future__ import annotations

from tests.faces.api.conftest import Api


def test_a_file_is_shown(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt", b"four")
    status, body = api.get(f"/files/{id}")
    assert (status, body["file"]["name"], body["file"]["size"]) == (200, "a.txt", 4)
