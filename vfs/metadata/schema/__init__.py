"""The tables, each column explained; `migrations/` brings a database here, a test compares the two.

Times `…_ns` are nanoseconds since 1970 (UTC). UUIDs are text, made before the insert. The seeds' tables
(`folders`, `files`, `file_storage_objects`, `folder_storage_objects`) are read-only views, see `views.py`.
"""

from vfs.metadata.revision import REVISION
from vfs.metadata.schema import care, contents, people, tree, vaults
from vfs.metadata.schema.base import metadata
from vfs.metadata.schema.views import VIEWS

__all__ = ["REVISION", "VIEWS", "care", "contents", "metadata", "people", "tree", "vaults"]
