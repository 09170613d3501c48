"""Random system calls, the same on a mount and on a local folder: what `test_differential` compares.

A step is chosen with everything that is random in it, and is then a function of a side. Where docs/fuse.md names a
difference, the step that meets it carries that name (`unless`): while the row is there the step must fail on the mount
and is not done on the local disk; without the row both have to answer the same.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import stat

from tests.faces.fuse.sides import EXCHANGE, LONG_AGO, NOREPLACE, Side, Step, digest, fallocate, looks, renameat2

NAMES = ("a", "b", "Ä", "한국", "x y", "long" * 30, "d1", "d2")
TARGETS = (*NAMES, "../a", "nowhere", "d1/b")
_FLAGS = (
    os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, os.O_RDONLY | os.O_DIRECTORY,
    os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_TRUNC, os.O_RDONLY | os.O_CREAT,
)  # fmt: skip
_MODES = (0o600, 0o644, 0o755, 0o4711, 0o2755, 0o1777, 0o444)
_SIZES = (1, 100, 4096, 70_000)
_LARGEST, _FAR = 300_000, 30_000_000


class Steps:
    """Chooses what comes next. `elsewhere`: more paths that are this one's alone, relative to a side's root; `targets`:
    where symbolic links lead, so that none leads to what is another's."""

    def __init__(self, seed: int, elsewhere: tuple[str, ...] = (), targets: tuple[str, ...] = TARGETS) -> None:
        self.random = random.Random(seed)
        self.open: list[int] = []  # numbers of descriptors
        self._elsewhere, self._targets = elsewhere, targets
        self._next = 0

    def path(self) -> str:
        if self._elsewhere and self.random.random() < 0.15:
            return self.random.choice(self._elsewhere)
        return "/".join(self.random.choice(NAMES) for _ in range(self.random.choice((1, 1, 2, 2, 3))))

    def next(self) -> Step:
        on_files = (
            self.write, self.write, self.write, self.read, self.truncate, self.fstat, self.fsync, self.mapped,
            self.allocate, self.copy_range, self.close_one_of_two, self.below, self.close, self.close, self.close,
        )  # fmt: skip
        on_names = (
            self.opens, self.opens, self.opens, self.mkdir, self.mkdir, self.rmdir, self.unlink, self.unlink,
            self.rename, self.rename, self.rename_with_flags, self.stat, self.listdir, self.truncate_path, self.chmod,
            self.chown, self.utime, self.whole, self.symlink, self.link, self.fifo, self.xattr, self.odd_name,
            self.folder_time, self.save,
        )  # fmt: skip
        if len(self.open) > 12:
            return self.close()
        return self.random.choice(on_files if self.open and self.random.random() < 0.5 else on_names)()

    def failed_to_open(self) -> None:
        """The last step was one that opens, and there is no descriptor."""
        self.open.pop()

    # --- names ---

    def opens(self) -> Step:
        path, flags, number = self.path(), self.random.choice(_FLAGS), self._next
        mode = self.random.choice((0o644, 0o600, 0o444))
        self._next += 1
        self.open.append(number)

        def call(side: Side) -> str:
            side.files[number] = os.open(side.at(path), flags, mode)
            return "opened"

        return Step(f"open {path} {flags:#o} {mode:o} as {number}", call)

    def mkdir(self) -> Step:
        path, mode = self.path(), self.random.choice((0o777, 0o777, 0o700, 0o1777))
        return Step(f"mkdir {path} {mode:o}", lambda side: os.mkdir(side.at(path), mode))

    def rmdir(self) -> Step:
        path = self.path()
        return Step(f"rmdir {path}", lambda side: os.rmdir(side.at(path)))

    def unlink(self) -> Step:
        path = self.path()
        return Step(f"unlink {path}", lambda side: os.unlink(side.at(path)))

    def rename(self) -> Step:
        source, target = self.path(), self.path()
        return Step(f"rename {source} {target}", lambda side: os.rename(side.at(source), side.at(target)))

    def rename_with_flags(self) -> Step:
        source, target = self.path(), self.path()
        flags = NOREPLACE if source == target else self.random.choice((NOREPLACE, NOREPLACE, EXCHANGE))
        return Step(
            f"renameat2 {source} {target} {flags}",
            lambda side: renameat2(side.at(source), side.at(target), flags),
            "no-exchange" if flags == EXCHANGE else "",
        )

    def save(self) -> Step:
        """As editors do: a new file, renamed over the old one."""
        path, data = self.path(), self.random.randbytes(self.random.choice(_SIZES))

        def call(side: Side) -> None:
            new = side.at(path + "~new")
            new.write_bytes(data)
            try:
                os.rename(new, side.at(path))
            except OSError:
                os.unlink(new)
                raise

        return Step(f"save {len(data)} as {path}", call)

    def stat(self) -> Step:
        path = self.path()
        return Step(f"stat {path}", lambda side: looks(os.lstat(side.at(path))))

    def listdir(self) -> Step:
        path = self.path()
        return Step(f"listdir {path}", lambda side: sorted(os.listdir(side.at(path))))

    def truncate_path(self) -> Step:
        path, size = self.path(), self.size()
        return Step(f"truncate {path} {size}", lambda side: os.truncate(side.at(path), size))

    def chmod(self) -> Step:
        path, mode = self.path(), self.random.choice(_MODES)
        return Step(f"chmod {path} {mode:o}", lambda side: os.chmod(side.at(path), mode))

    def chown(self) -> Step:
        path, uid, gid = self.path(), self.random.choice((-1, 0, 1000)), self.random.choice((-1, 0, 1000))
        return Step(f"chown {path} {uid} {gid}", lambda side: os.chown(side.at(path), uid, gid))

    def utime(self) -> Step:
        path, time = self.path(), self.random.randrange(LONG_AGO)

        def call(side: Side) -> int:
            os.utime(side.at(path), ns=(time, time))
            return os.stat(side.at(path)).st_mtime_ns

        return Step(f"utime {path} {time}", call)

    def whole(self) -> Step:
        path = self.path()
        return Step(f"read all of {path}", lambda side: digest(side.at(path)))

    def symlink(self) -> Step:
        path, target = self.path(), self.random.choice(self._targets)

        def call(side: Side) -> str:
            os.symlink(target, side.at(path))
            return os.readlink(side.at(path))

        return Step(f"symlink {target} {path}", call, "no-symlinks")

    def link(self) -> Step:
        source, target = self.path(), self.path()
        return Step(f"link {source} {target}", lambda side: os.link(side.at(source), side.at(target)), "no-hard-links")

    def fifo(self) -> Step:
        path = self.path()
        return Step(f"mkfifo {path}", lambda side: os.mkfifo(side.at(path)), "no-devices")

    def xattr(self) -> Step:
        path = self.path()
        return Step(f"setxattr {path}", lambda side: os.setxattr(side.at(path), "user.it", b"1"), "no-xattrs")

    def odd_name(self) -> Step:
        """What text cannot be, and names that are too long or end in what Windows would cut off."""
        path, odd = (
            self.path(),
            self.random.choice(("\udcff", "\x01b", "n" * 256, "한" * 86, "dot.", "blank ", "c:\\d")),
        )
        is_text = odd not in ("\udcff", "\x01b")

        def call(side: Side) -> None:
            os.mkdir(side.at(f"{path}/{odd}"))
            os.rmdir(side.at(f"{path}/{odd}"))

        return Step(f"mkdir and rmdir {path}/{odd!a}", call, "" if is_text else "names-are-text")

    def folder_time(self) -> Step:
        """A name that comes or goes is a change of its folder."""
        path, made = self.path(), self.random.choice((True, False))

        def call(side: Side) -> bool:
            folder, new = side.at(path), side.at(path + "/~new")
            os.mkdir(new)
            if made:
                os.rmdir(new)
            os.utime(folder, ns=(1, 1))
            if made:
                os.mkdir(new)
            os.rmdir(new)
            if os.stat(folder).st_mtime_ns == 1:
                raise OSError(errno.EUCLEAN, "the folder's time is as it was")
            return True

        return Step(f"time of {path}", call, "folder-times")

    # --- descriptors ---

    def size(self) -> int:
        return self.random.randrange(_FAR if self.random.random() < 0.03 else _LARGEST)

    def write(self) -> Step:
        number, data = self.random.choice(self.open), self.random.randbytes(self.random.choice(_SIZES))
        at = self.size()
        return Step(f"write {len(data)} at {at} to {number}", lambda side: os.pwrite(side.files[number], data, at))

    def read(self) -> Step:
        number, at = self.random.choice(self.open), self.size()
        return Step(f"read at {at} of {number}", lambda side: os.pread(side.files[number], 50_000, at))

    def truncate(self) -> Step:
        number, size = self.random.choice(self.open), self.size()
        return Step(f"ftruncate {number} {size}", lambda side: os.ftruncate(side.files[number], size))

    def allocate(self) -> Step:
        number, at, size = self.random.choice(self.open), self.random.randrange(_LARGEST), self.random.choice(_SIZES)
        return Step(
            f"fallocate {size} at {at} of {number}",
            lambda side: fallocate(side.files[number], at, size),
            "no-fallocate",
        )

    def mapped(self) -> Step:
        """What is written through a mapping is in the file."""
        number, at, data = self.random.choice(self.open), self.random.randrange(_LARGEST), self.random.randbytes(500)

        def call(side: Side) -> bytes:
            info = os.fstat(side.files[number])
            if not stat.S_ISREG(info.st_mode) or not info.st_size:
                return b""
            with mmap.mmap(side.files[number], 0) as memory:
                if len(memory) >= at + len(data):
                    memory[at : at + len(data)] = data
                memory.flush()
                return memory[max(0, at - 500) : at + 1000]

        return Step(f"map {number}, write at {at}", call)

    def copy_range(self) -> Step:
        source, target = self.random.choice(self.open), self.random.choice(self.open)
        start, at, size = (self.random.randrange(_LARGEST) for _ in range(3))
        return Step(
            f"copy {size} from {start} of {source} to {at} of {target}",
            lambda side: os.copy_file_range(side.files[source], side.files[target], size, start, at),
        )

    def below(self) -> Step:
        """A descriptor as the folder that a name is looked up in; its folder may have been removed."""
        number, name = self.random.choice(self.open), self.random.choice(NAMES)

        def call(side: Side) -> object:
            os.close(os.open(name, os.O_RDWR | os.O_CREAT, 0o644, dir_fd=side.files[number]))
            return looks(os.stat(name, dir_fd=side.files[number]))

        return Step(f"open {name} below {number}", call)

    def fstat(self) -> Step:
        number = self.random.choice(self.open)
        return Step(f"fstat {number}", lambda side: looks(os.fstat(side.files[number])))

    def fsync(self) -> Step:
        number = self.random.choice(self.open)
        return Step(f"fsync {number}", lambda side: os.fsync(side.files[number]))

    def close_one_of_two(self) -> Step:
        number = self.random.choice(self.open)
        return Step(f"dup {number} and close it", lambda side: os.close(os.dup(side.files[number])))

    def close(self) -> Step:
        number = self.random.choice(self.open)
        self.open.remove(number)
        return Step(f"close {number}", lambda side: os.close(side.files.pop(number)))
