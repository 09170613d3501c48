"""Claims on names, of many processes: `vfs/metadata/name_claims.py`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vfs.metadata.name_claims import NameClaims

NAME, OTHER = (7, "a"), (7, "b")
_HOLDER = """
import sys
from pathlib import Path
from vfs.metadata.name_claims import NameClaims
claims = NameClaims(Path(sys.argv[1]))
print(claims.take((7, "a")) is not None, flush=True)
for word in sys.stdin:
    claims.look_after()
    print(len(claims), flush=True)
"""

Open = Callable[[], NameClaims]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "drive.claims"


@pytest.fixture
def another(file: Path) -> Iterator[Open]:
    """As another process opens it: its locks are of a descriptor of its own."""
    opened: list[NameClaims] = []

    def open_claims() -> NameClaims:
        opened.append(NameClaims(file))
        return opened[-1]

    yield open_claims
    for claims in opened:
        claims.close()


@pytest.fixture
def holder(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has NAME."""
    command = [sys.executable, "-c", _HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_one_has_it_alone_or_many_together(another: Open) -> None:
    for one, two in ((another(), another()), (same := another(), same)):
        claim = one.take(NAME)
        assert claim is not None
        assert two.take(NAME) is None and not two.share(NAME) and two.share(OTHER)
        claim.give_back()
        claim.give_back()
        assert two.share(NAME) and one.share(NAME) and one.take(NAME) is None and two.take(OTHER) is None
        two.unshare([NAME, OTHER])
        assert two.take(NAME) is None, "one of them still has it"
        one.unshare([NAME])
        again = two.take(NAME)
        assert again is not None and len(two) == 1
        again.give_back()
        assert len(one) == len(two) == 0


def test_it_ends_with_its_process_and_not_before(another: Open, holder: subprocess.Popen[str]) -> None:
    claims = another()
    holder.send_signal(signal.SIGSTOP)
    assert claims.take(NAME) is None and not claims.share(NAME)
    holder.kill()
    holder.wait()
    assert claims.take(NAME) is not None


@pytest.mark.parametrize("by", ["removing", "moving", "renaming over it"])
def test_the_file_goes_away_while_it_is_used(another: Open, file: Path, holder: subprocess.Popen[str], by: str) -> None:
    claims, own = another(), another()
    mine = own.take(OTHER)
    assert mine is not None and claims.take(NAME) is None
    if by == "removing":
        file.unlink()
    elif by == "moving":
        file.rename(file.with_name("elsewhere"))
    else:
        file.with_name("new").write_bytes(os.urandom(40))
        file.with_name("new").rename(file)
    assert claims.take(NAME) is None and not claims.share(NAME), "who knows the file of before looks there too"
    assert claims.take(OTHER) is None
    own.look_after()
    fresh = another()
    assert fresh.take(OTHER) is None and not fresh.share(OTHER), "who does not, finds it in the one of now"
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.write("look\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "1\n"
    assert fresh.take(NAME) is None
    holder.kill()
    holder.wait()
    mine.give_back()
    for name in (NAME, OTHER):
        claim = claims.take(name)
        assert claim is not None and fresh.take(name) is None
        claim.give_back()
        claim = fresh.take(name)
        assert claim is not None
        claim.give_back()
    assert len(claims._files) == 1, "nobody has anything in the one of before"


def test_only_its_owner_reads_the_secret_that_says_where_names_are(another: Open, file: Path) -> None:
    assert another().take(NAME) is not None
    assert file.stat().st_mode & 0o777 == 0o600 and file.stat().st_size == 16
    before = file.read_bytes()
    assert another().take(OTHER) is not None
    assert file.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_it_to_who_has_the_database(tmp_path: Path) -> None:
    database = tmp_path / "drive.db"
    database.touch()
    os.chown(database, 12345, 12345)
    claims = NameClaims(tmp_path / "drive.claims", like=database)
    assert claims.take(NAME) is not None
    assert (tmp_path / "drive.claims").stat().st_uid == 12345
    claims.close()


def test_where_it_cannot_be_made_nothing_is_promised(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    claims = NameClaims(folder / "drive.claims")
    shutil.rmtree(folder)
    assert claims.take(NAME) is None
    with pytest.raises(OSError, match="No such file"):
        claims.share(NAME)
    folder.mkdir()
    assert claims.take(NAME) is not None and claims.share(OTHER)
    claims.close()
