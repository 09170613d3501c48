"""Symbolic links as files: a file of 1,067 bytes that says where it leads.

The format is Minshall and French's, which Linux' CIFS client (`mount -o mfsymlinks`), Macs and Samba show as a link:
"XSym", the length of the target as four digits, its MD5 in hexadecimal, the target, each on a line of its own, then
spaces (the Samba wiki, "UNIX Extensions: Minshall+French symlinks"). For everybody else it is a file, so that nothing
on a NAS leads out of the drive.
"""

from __future__ import annotations

import hashlib

TYPE = "inode/symlink"  # its media type in the drive (freedesktop.org, shared-mime-info), which alone makes it a link
SIZE = 1067  # bytes of the file, always
MOST = 1024  # bytes of a target


def packed(target: bytes) -> bytes:
    """The file that leads to `target`, which has 1 to MOST bytes, none of them NUL."""
    if not 0 < len(target) <= MOST or b"\0" in target:
        raise ValueError("no link leads there")
    head = b"XSym\n%04d\n%s\n" % (len(target), _digest(target))
    return (head + target + b"\n").ljust(SIZE)[:SIZE]


def target_of(data: bytes) -> bytes | None:
    """Where such a file leads; None: it is none."""
    if len(data) != SIZE:
        return None
    magic, length, digest, rest = data.split(b"\n", 3) if data.count(b"\n") >= 3 else (b"", b"", b"", b"")
    if magic != b"XSym" or len(length) != 4 or not length.isdigit():
        return None
    target = rest[: int(length)]
    is_right = 0 < len(target) == int(length) <= MOST and b"\0" not in target and digest == _digest(target)
    return target if is_right else None


def _digest(target: bytes) -> bytes:
    return hashlib.md5(target, usedforsecurity=False).hexdigest().encode()
