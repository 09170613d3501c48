"""The tests of the core once more, inside a vault: their `drive` is a folder of a drive, in which all is sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from tests.rooms.core.conftest import drive_with as _drive_with
from tests.rooms.core.conftest import finished
from tests.rooms.core.drive import Drive
from tests.rooms.vault.drive import VaultDrive, make_vault

__all__ = ["drive", "drive_with", "finished"]

drive_with_plain = _drive_with
