"""The core's drive, and the open files of a mount on it, without a mount; with KELP_TEST_VAULT=1 a vault's."""

from __future__ import annotations

from tests import vaults
from tests.rooms.fuse.files import files, files_of

if vaults.ALL:
    from tests.rooms.vault.conftest import drive, drive_with, finished, finished_plain, plain_drive_with
else:
    from tests.rooms.core.conftest import drive, drive_with, finished

__all__ = ["drive", "drive_with", "files", "files_of", "finished"]
if vaults.ALL:
    __all__ += ["finished_plain", "plain_drive_with"]
