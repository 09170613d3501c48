"""What the kernel was told of an inode."""

from __future__ import annotations

from fuse_mount.inodes import Inodes, Known


def test_newer_attributes_leave_it_where_it_was_told_by_name() -> None:
    inodes = Inodes()
    inodes.told(5, Known(1, "a", 1, "x"))
    inodes.refreshed(5, Known(2, "b", 1, "x"))  # as it was
    assert inodes.known(5) == Known(1, "a", 1, "x") and inodes.take_outdated() == (set(), set())
    inodes.refreshed(5, Known(2, "b", 2, "x"))
    assert inodes.known(5) == Known(1, "a", 2, "x") and inodes.take_outdated() == (set(), set())
    inodes.refreshed(5, Known(2, "b", 2, "y"))
    assert inodes.known(5) == Known(1, "a", 2, "y") and inodes.take_outdated() == (set(), {5})


def test_of_what_the_kernel_does_not_have_nothing_is_kept() -> None:
    inodes = Inodes()
    inodes.refreshed(5, Known(1, "a", 1, None))
    assert inodes.known(5) is None
    inodes.told(5, Known(1, "a", 1, None))
    inodes.forget([(5, 1)])
    inodes.refreshed(5, Known(1, "a", 2, None))
    assert inodes.known(5) is None
