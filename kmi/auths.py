"""The directory of auth files: what is there, who may read it, and which keys it gives."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from kmi.auth_formats import SUFFIXES, explain, parse_auth_file
from kmi.errors import KmiError, RefusedError
from kmi.files import open_regular, others_can_read, read_regular, sweep_temporaries
from kmi.model import ApiKey, Problem
from kmi.urls import allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.settings import Settings


class Keyring(NamedTuple):
    """Every usable key, ordered by descending priority and label, and what is wrong with the rest.

    Attributes:
        notices: what kmi changed by itself, for instance a mode that it tightened.
    """

    directory: str
    keys: tuple[ApiKey, ...]
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def find(self, label: str) -> ApiKey | None:
        """The key of that label."""
        return next((key for key in self.keys if key.label == label), None)


def load_keyring(settings: Settings, *, change_modes: bool = True) -> Keyring:
    """Read the auths directory and one level of folders below it.

    Args:
        settings: names the directory, the default base URL and whether modes are enforced.
        change_modes: tighten modes where the settings ask for it, and remove what a killed kmi
            left; a dry run does not.

    Raises:
        RefusedError: the directory can be written by others, and kmi can't change that.
        KmiError: it can't be read.
    """
    directory = settings.auths_dir
    problems: list[Problem] = []
    notices: list[str] = []
    keys: list[ApiKey] = []
    enforce = settings.enforce_file_perms
    files: list[str] = []
    for folder, paths in _folders(directory, problems):
        _check_directory(folder, notices, enforce=enforce, change=change_modes)
        if change_modes:
            sweep_temporaries(folder)  # of a kmi that was killed while it wrote a key
        files.extend(paths)
    for path in files:
        try:
            data = _read_private(path, notices, problems, enforce=enforce, change=change_modes)
        except FileNotFoundError:
            continue  # removed since it was listed
        except (OSError, KmiError) as error:
            problems.append(Problem(path, explain(error).replace(path + " ", ""), _fix(error)))
            continue
        parsed = parse_auth_file(path, data, settings.upstream_base_url)
        problems.extend(parsed.problems)
        keys.extend(parsed.keys)
    usable = _without_doubles(keys, problems)
    for key in usable:
        if not allowed(key.base_url, settings.upstream_allowlist):
            problems.append(
                Problem(
                    key.source,
                    f"key {key.label!r} has the base URL {key.base_url}, "
                    "which KMI_UPSTREAM_ALLOWLIST does not allow",
                    "add its host to the list, or correct the base URL",
                    fatal=False,
                )
            )
    usable.sort(key=lambda key: (-key.priority, key.label))
    return Keyring(directory, tuple(usable), tuple(problems), tuple(notices), tuple(files))


def _folders(directory: str, problems: list[Problem]) -> Iterator[tuple[str, list[str]]]:
    """The directory and its folders, each with its auth files, in a stable order."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RefusedError(f"can't read {directory}: {error.strerror}", "check its mode") from None
    yield directory, [entry.path for entry in entries if _is_auth_file(entry)]
    for entry in entries:
        if entry.is_symlink() and os.path.isdir(entry.path):
            what = "is a link to a directory, which is not followed"
            problems.append(Problem(entry.path, what, "put the directory itself there"))
        if not entry.is_dir(follow_symlinks=False):
            continue
        try:
            inner = sorted(os.scandir(entry.path), key=lambda item: item.name)
        except OSError as error:
            problems.append(Problem(entry.path, f"can't be read: {error.strerror}", "check it"))
            continue
        paths = [item.path for item in inner if _is_auth_file(item)]
        if paths:
            yield entry.path, paths


def _is_auth_file(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(SUFFIXES) and not entry.is_dir(follow_symlinks=False)


def _check_directory(path: str, notices: list[str], *, enforce: bool, change: bool) -> None:
    """A directory that others can write to, or that is another user's, supplies no keys."""
    if os.name == "nt":
        return
    status = os.stat(path)
    if status.st_uid not in {os.geteuid(), 0} and os.geteuid() != 0:
        raise RefusedError(f"{path} belongs to another user", "use a directory of your own")
    if not status.st_mode & 0o022 or not enforce:
        return
    if not change:
        return
    try:
        os.chmod(path, stat.S_IMODE(status.st_mode) & ~0o022)
    except OSError:
        raise RefusedError(f"{path} can be written by others", f"run: chmod go-w {path}") from None
    notices.append(f"{path} could be written by others; its mode is tightened")


def _read_private(
    path: str, notices: list[str], problems: list[Problem], *, enforce: bool, change: bool
) -> bytes:
    data, status = read_regular(path)
    if os.name != "nt" and status.st_uid not in {os.geteuid(), 0} and os.geteuid() != 0:
        raise RefusedError(f"{path} belongs to another user", "make a copy of your own")
    if not others_can_read(status.st_mode):
        return data
    mode = stat.S_IMODE(status.st_mode)
    if not enforce:
        problems.append(Problem(path, f"others can read it (mode {mode:04o})", "chmod 600", False))
        return data
    if not change:
        return data
    try:
        _tighten(path, status)
    except (OSError, RefusedError):
        raise RefusedError(
            f"{path} can be read by others (mode {mode:04o}) and kmi can't change that",
            f"run: chmod 600 {path}",
        ) from None
    notices.append(f"{path} could be read by others (mode {mode:04o}); it is 0600 now")
    return data


def _tighten(path: str, read: os.stat_result) -> None:
    """Change the mode of the file that was read, and not one that took its place meanwhile."""
    fd, now = open_regular(path)
    try:
        if not os.path.samestat(now, read):
            raise PermissionError("it was replaced while kmi read it")
        os.fchmod(fd, stat.S_IMODE(read.st_mode) & 0o600)
    finally:
        os.close(fd)


def _without_doubles(keys: list[ApiKey], problems: list[Problem]) -> list[ApiKey]:
    """The first key of each secret and of each label; the others are reported."""
    by_id: dict[str, ApiKey] = {}
    by_label: dict[str, ApiKey] = {}
    for key in keys:
        where = key.source if key.line is None else f"{key.source}:{key.line}"
        same = by_id.get(key.key_id)
        if same is not None:
            what = f"key {key.label!r} is the same key as {same.label!r} in {same.source}"
            problems.append(Problem(where, what, "remove one of the two; the first is used", False))
            continue
        named = by_label.get(key.label)
        if named is not None:
            what = f"the label {key.label!r} is taken by {named.source}"
            problems.append(Problem(where, what, "give it another label"))
            continue
        by_id[key.key_id] = by_label[key.label] = key
    return list(by_label.values())


def _fix(error: BaseException) -> str:
    return (error.fix or "") if isinstance(error, KmiError) else "check its owner and mode"
