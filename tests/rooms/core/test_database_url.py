"""A database.url that cannot be right is refused in words that hold nothing of its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfs import bootstrap
from vfs.errors import ConfigurationError
from vfs.metadata import facts
from vfs.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://kelp:a@secret@127.0.0.1:1/kelp",  # the first @ ends the password, says the standard of URLs
        "postgresql://kelp:secret@127.0.0.1:port/kelp",
        "postgresql://kelp:secret@[::1/kelp",
        "kelp:secret@127.0.0.1/kelp",
    ],
)
def test_no_part_of_the_password_is_told(tmp_path: Path, url: str) -> None:
    settings = Settings.load(data=tmp_path, database_url=url, database_timeout=1)
    with pytest.raises(ConfigurationError) as refused:
        bootstrap.build(settings)
    with pytest.raises(ConfigurationError) as seen:
        facts.look(url, 1.0)
    assert "secret" not in f"{refused.value} {seen.value}"
