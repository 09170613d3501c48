"""`kelp mount` and `kelp umount`: the drive as a file system of Linux."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cli import mount_points
from cli.display import say
from cli.drive import load_settings, log_option, place_options, require_drive, set_up_log
from cli.serving import make_private
from vfs import telemetry
from vfs.errors import ConfigurationError
from vfs.settings import Settings

# For libfuse, as they are (mount.fuse3(8)).
_KERNEL = ("allow_other", "allow_root", "ro", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "sync", "dirsync")
_KERNEL_VALUES = ("max_read", "context", "fscontext", "defcontext", "rootcontext")
# What stands in /etc/fstab for others.
_OTHERS = frozenset(
    "rw auto noauto user nouser users nofail _netdev defaults atime noatime relatime norelatime diratime nodiratime "
    "async lazytime".split()
)


NOBODY = -1  # a user or a group that was not said


@dataclass(frozen=True, slots=True)
class MountOptions:
    """What -o says (docs/fuse.md); `account` is --user or `account=`, `log` follows from --foreground."""

    account: str | None = None
    uid: int = NOBODY
    gid: int = NOBODY
    umask: int = 0o022
    hard: bool = False
    recover: bool = False
    nonempty: bool = False
    xattr: bool = False
    config: Path | None = None
    kernel: tuple[str, ...] = ()
    log: Path | None = None  # where it tells what happens; None: on standard error

    @classmethod
    def parse(cls, text: str) -> MountOptions:
        """Raises ConfigurationError for a word that nobody knows."""
        options = cls()
        for word in filter(None, text.split(",")):
            options = options._with(word)
        return options

    def completed(self) -> MountOptions:
        """What nobody has given to anybody is this process's."""
        uid = os.getuid() if self.uid == NOBODY else self.uid
        return replace(self, uid=uid, gid=os.getgid() if self.gid == NOBODY else self.gid)

    def _with(self, word: str) -> MountOptions:
        name, has_value, value = word.partition("=")
        changes: dict[str, Any] = {}
        if name in ("hard", "nonempty", "recover", "xattr") and not has_value:
            changes[name] = True
        elif name in ("uid", "gid", "umask") and has_value:
            changes[name] = _number(word, value, 8 if name == "umask" else 10)
        elif name == "account" and value:
            changes[name] = value
        elif name == "config" and value:
            changes[name] = Path(value)
        elif name in (_KERNEL_VALUES if has_value else _KERNEL):
            changes["kernel"] = (*self.kernel, word)
        elif name.startswith("writeback"):
            raise ConfigurationError(
                f"{word} is refused: the kernel would show old sizes of files that others change, and write parts of "
                "what was there before over what they have saved (docs/fuse.md)"
            )
        elif word == "soft":
            changes["hard"] = False
        elif word not in _OTHERS and not word.startswith(("x-", "comment=")):
            raise ConfigurationError(f"unknown mount option: {word}")
        return replace(self, **changes)


def _number(word: str, value: str, base: int) -> int:
    try:
        number = int(value, base)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 32:
        raise ConfigurationError(f"wrong mount option: {word}")
    return number


# Mounts, and answers until it is unmounted; calls the last when programs can use it.
Mount = Callable[[Settings, Path, MountOptions, Callable[[], None]], None]


def make_command(mount: Mount) -> click.Command:
    """The command, for the module that knows the face."""

    @click.command("mount")
    @click.argument("mountpoint", type=click.Path(path_type=Path))
    @click.option("-o", "options", multiple=True, metavar="OPTIONS", help="mount options, see docs/fuse.md")
    @click.option("--user", metavar="NAME", help="whose rights the mount has [the first admin's]")
    @click.option("--recover", is_flag=True, help="make files of what a killed mount left, beside the ones they are of")
    @click.option("--foreground", is_flag=True, help="do not go into the background")
    @place_options
    @log_option("info")
    def command(
        mountpoint: Path,
        options: tuple[str, ...],
        user: str | None,
        recover: bool,
        foreground: bool,
        config: Path | None,
        data: Path | None,
        nas: Path | None,
        log_level: str,
    ) -> None:
        """Show the drive as a folder of this machine, until `kelp umount MOUNTPOINT`.

        It works on the database and the stores themselves, beside servers or without one.
        """
        set_up_log(log_level)
        chosen = MountOptions.parse(",".join(options))
        account = user if user is not None else chosen.account
        chosen = replace(chosen, account=account, recover=recover or chosen.recover)
        settings = load_settings(config or chosen.config, data, nas)
        set_up_log(log_level, settings)
        mount_drive(mount, settings, mountpoint, chosen, foreground=foreground)

    return command


def mount_drive(mount: Mount, settings: Settings, mountpoint: Path, options: MountOptions, *, foreground: bool) -> None:
    """Raises ConfigurationError before anything is mounted."""
    telemetry.check(settings)
    require_drive(settings)
    _refuse_circles(settings, mountpoint)
    mount_points.make_ready(mountpoint, may_hold_files=options.nonempty)
    mountpoint = Path(os.path.abspath(mountpoint))
    _become_owner(settings.data)
    make_private(settings.data)
    log = None if foreground else settings.data / "mount.log"
    ready = _in_foreground if log is None else _into_background(log)
    if ready is not None:
        mount(settings, mountpoint, replace(options.completed(), log=log), ready)


def _refuse_circles(settings: Settings, mountpoint: Path) -> None:
    """A drive mounted over its own data, or in what it mirrors to, would wait for itself."""
    place = Path(os.path.realpath(mountpoint.absolute().parent), mountpoint.name)
    for kind, folder in (("data folder", settings.data), ("NAS folder", settings.nas_root)):
        inner = Path(os.path.realpath(folder))
        if place.is_relative_to(inner) or inner.is_relative_to(place):
            raise ConfigurationError(f"{mountpoint} and the {kind} {folder} must not lie in each other")


def _become_owner(data: Path) -> None:
    """root, who mounts what is in /etc/fstab, must not make files in the data folder that its owner cannot read."""
    owner = data.stat() if data.exists() else None
    if owner is None or os.geteuid() != 0 or owner.st_uid == 0:
        return
    name = pwd.getpwuid(owner.st_uid).pw_name
    os.initgroups(name, owner.st_gid)
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def _in_foreground() -> None:
    return


def _into_background(log: Path) -> Callable[[], None] | None:
    """In a new process: what to call when the drive is there; from then on its log is in the file. In this one, after
    that: None. When the new one ends before, this one ends with its exit code."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()
        return lambda: _detach(log, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        is_ready = pipe.read() != b""
    if not is_ready:
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status) or 1)
    return None


def _detach(log: Path, writing: int) -> None:
    """Let go of the terminal and of the process that waits."""
    kept = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, instead in ((0, nothing), (1, nothing), (2, kept)):
        os.dup2(instead, number)
    os.close(kept)
    os.close(nothing)
    os.chdir("/")  # else the folder that it was started in could not be unmounted
    os.write(writing, b"ready")
    os.close(writing)


def make_helper(mount: Mount) -> click.Command:
    """`mount.fuse.kelp`, by which mount(8) and systemd mount what is of type fuse.kelp in /etc/fstab."""

    @click.command("mount.fuse.kelp")
    @click.argument("source")
    @click.argument("mountpoint", type=click.Path(path_type=Path))
    @click.option("-o", "options", multiple=True)
    @click.option("-f", "fake", is_flag=True, help="do everything but mount")
    @click.option("-s", "-n", "-v", "ignored", is_flag=True, hidden=True)
    @click.option("-N", "-t", "unused", hidden=True)
    def command(
        source: str, mountpoint: Path, options: tuple[str, ...], fake: bool, ignored: bool, unused: str | None
    ) -> None:
        """Mount a drive. SOURCE is its settings file, or its data folder."""
        set_up_log("warning")
        chosen = MountOptions.parse(",".join(options))
        place = Path(source)
        if place.is_dir():
            settings = load_settings(chosen.config, place, None)
        elif place.is_file():
            settings = load_settings(place, None, None)
        else:
            raise ConfigurationError(f"{source} is neither the settings file nor the data folder of a drive")
        set_up_log("info", settings)
        if not fake:
            mount_drive(mount, settings, mountpoint, chosen, foreground=False)

    return command


@click.command("umount")
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--lazy", is_flag=True, help="now, though programs use it: they get errors")
@log_option("warning")
def umount(mountpoint: Path, lazy: bool, log_level: str) -> None:
    """Let go of a drive that `kelp mount` has mounted; also one whose process died."""
    set_up_log(log_level)
    mount_points.unmount(mountpoint, lazily=lazy)
    say(f"{mountpoint} is not mounted any more")
