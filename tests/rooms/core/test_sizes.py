"""Bytes in settings, and who may read the database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from vfs.errors import ConfigurationError
from vfs.metadata.sqlite import SqliteEngine
from vfs.settings import Settings

MIB = 1024 * 1024


def test_bytes_are_a_number_or_words(tmp_path: Path) -> None:
    file = tmp_path / "kelp.toml"
    file.write_text('[nas]\nreserve = "1 GiB"\n[cache]\nreserve = 1048576\n[scrub]\nrate = "4 MiB"\n')
    settings = Settings.load(file, {"KELP_CACHE_LIMIT": "2 GB"})
    assert settings.nas.reserve == 1024 * MIB
    assert settings.cache.reserve == MIB
    assert settings.scrub.rate == 4 * MIB
    assert settings.cache.limit.bytes == 2_000_000_000
    assert Settings.load(None, {"KELP_NAS_RESERVE": "1048576"}).nas.reserve == MIB


@pytest.mark.parametrize("name", ["NAS_RESERVE", "CACHE_RESERVE", "SCRUB_RATE", "CACHE_LIMIT"])
@pytest.mark.parametrize("wrong", ["lots", "1 GiB more", "-1 MiB", "nan"])
def test_a_wrong_one_says_what_it_must_be_like(name: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="it must be like 500"):
        Settings.load(None, {f"KELP_{name}": wrong})


@pytest.mark.parametrize("wrong", ["60 %", "none"])
def test_a_reserve_is_no_share(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"nas\.reserve"):
        Settings.load(None, {"KELP_NAS_RESERVE": wrong})


def test_only_the_owner_reads_the_database(tmp_path: Path) -> None:
    engine = SqliteEngine(sa.make_url(f"sqlite:///{tmp_path / 'kelp.db'}"))
    try:
        with engine.write():
            pass
        modes = {each.name: each.stat().st_mode & 0o077 for each in tmp_path.glob("kelp.db*")}
    finally:
        engine.close()
    assert set(modes.values()) == {0} and len(modes) >= 2
