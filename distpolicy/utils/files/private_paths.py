"""Checks that only this user, and root, may change or read a file or a folder."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path


def why_others_may_change(path: Path, root: Path | None = None) -> str | None:
    """Returns why another user may change what lies at a path; None if only this user and root can.

    Who may write to a folder may replace what is in it. Therefore the parents count, too.

    Args:
        path: A file or a folder that exists.
        root: A parent of the path. It and what is above it may be reached by links, and may belong to root. What is
            below it has to be this user's, and must not be a link. None for the path itself.

    Returns:
        The reason, as a part of a sentence.

    Raises:
        OSError: If the path does not exist or cannot be looked at.
    """
    path = Path(os.path.abspath(path))
    root = path if root is None else Path(os.path.abspath(root))
    for place in _below(path, root):
        found = os.lstat(place)
        if stat.S_ISLNK(found.st_mode):
            return f"{place} is a link"
        if found.st_uid != os.getuid():
            return f"{place} belongs to {user_name(found.st_uid)}"
        if _others_may_write(found):
            return f"others may write to {place} (mode {stat.S_IMODE(found.st_mode):04o})"
    resolved = root.resolve(strict=True)
    for place in (resolved, *resolved.parents):
        found = os.lstat(place)
        if found.st_uid not in (os.getuid(), 0):
            return f"{place} belongs to {user_name(found.st_uid)}"
        # In a sticky folder such as /tmp, a user may only replace what is theirs.
        is_sticky = place != resolved and bool(found.st_mode & stat.S_ISVTX)
        if _others_may_write(found) and not is_sticky:
            return f"others may write to {place} (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def others_may_read(path: Path) -> bool:
    """Returns True if another user may read a file, by its mode and those of the folders above it.

    Raises:
        OSError: If the file does not exist.
    """
    resolved = path.resolve(strict=True)
    if not os.stat(resolved).st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return False
    # Who may not enter a folder reaches nothing in it.
    return all(os.stat(parent).st_mode & (stat.S_IXGRP | stat.S_IXOTH) for parent in resolved.parents)


def user_name(uid: int) -> str:
    """Returns a user's name, or ``uid N`` if the user has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _below(path: Path, root: Path) -> Iterator[Path]:
    """Yields the path and its parents that lie below the root."""
    for place in (path, *path.parents):
        if place == root:
            return
        yield place


def _others_may_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_own_group(found.st_gid)


def _is_own_group(gid: int) -> bool:
    """Returns True if this user is the only member of a group. Many systems give each user such a group."""
    with contextlib.suppress(KeyError):
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
        return group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name}
    return False
