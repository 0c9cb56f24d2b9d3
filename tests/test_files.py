"""What a replaced file keeps of the old one, and what is swept up."""

from __future__ import annotations

import os
import stat
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from kmi.files import left_temporaries, write_atomic
from tests.conftest import CLI, config_text, secret_of, write_private
from tests.other_user import UID, abroad

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World

unix = pytest.mark.skipif(os.name != "posix", reason="owners and modes are Unix's")
ACL = "system.posix_acl_access"
#: Who an entry of an ACL is about.
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 0x10, 0x20
NOBODY = 0xFFFFFFFF


def give_to(path: Path, uid: int) -> None:
    """What `setfacl -m u:UID:r` does."""
    if sys.platform != "linux":
        pytest.skip("POSIX ACLs as extended attributes are Linux's")
    rows = [(USER_OBJ, 6, NOBODY), (USER, 4, uid), (GROUP_OBJ, 0, NOBODY)]
    rows += [(MASK, 4, NOBODY), (OTHER, 0, NOBODY)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
    try:
        os.setxattr(path, ACL, value)
        os.setxattr(path, "user.note", b"mine")
    except OSError as error:
        pytest.skip(f"the file system has no ACLs, or no attributes ({error.strerror})")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640, "the control: the mask is the group's"


def test_whom_an_acl_let_read_the_old_config_can_not_read_the_new_one(world: World) -> None:
    world.add_keys("alpha", "beta")
    path = world.write_config(CLI, config_text(secret_of("alpha")))
    give_to(path, UID)
    done = world.kmi("use", "beta", "--client", CLI)
    assert done.returncode == 0, done
    assert secret_of("beta") in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listxattr(path) == ["user.note"]


def test_a_private_file_is_never_open_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_private(tmp_path / "config.toml", "old")
    give_to(path, UID)
    modes: list[int] = []
    change = os.setxattr

    def watched(fd: int, name: str, value: bytes) -> None:
        change(fd, name, value)
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))

    monkeypatch.setattr(os, "setxattr", watched)
    write_atomic(str(path), b"new", like=path.stat())
    assert (path.read_bytes(), modes) == (b"new", [0o600])


def test_what_is_not_private_keeps_its_acl(tmp_path: Path) -> None:
    path = write_private(tmp_path / "plugin.json", "old")
    give_to(path, UID)
    before = os.getxattr(path, ACL)
    write_atomic(str(path), b"new", mode=0o640, like=path.stat())
    assert os.getxattr(path, ACL) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives a file away")
def test_a_config_in_a_group_that_is_not_ones_own_is_swapped(world: World) -> None:
    world.add_keys("alpha", "beta")
    world.config_with("alpha")
    with abroad(world) as theirs:
        os.chown(theirs.config(), -1, UID + 1)
        done = theirs.kmi("use", "beta", "--client", CLI)
        assert done.returncode == 0, done
        status = theirs.config().stat()
        assert secret_of("beta") in theirs.config().read_text()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (UID, UID, 0o600)


@unix
@pytest.mark.parametrize(("mode", "kept"), [(0o600, False), (0o604, False), (0o640, True)])
def test_a_group_that_can_not_be_kept_stops_only_what_is_the_groups(
    mode: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_private(tmp_path / "file", "old", mode)
    status = list(path.stat())
    status[stat.ST_GID] += 1

    def refused(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    like = os.stat_result(status)
    if kept:
        with pytest.raises(PermissionError):
            write_atomic(str(path), b"new", mode=mode, like=like)
    else:
        write_atomic(str(path), b"new", mode=mode, like=like)
    assert path.read_bytes() == (b"old" if kept else b"new")
    assert os.listdir(tmp_path) == ["file"]


@unix
def test_another_owner_is_never_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_private(tmp_path / "file", "old")
    status = list(path.stat())
    status[stat.ST_UID] += 1

    def refused(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    with pytest.raises(PermissionError):
        write_atomic(str(path), b"new", like=os.stat_result(status))
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("number", ["9" * 20, "²", "٣", "", "-1", "99999999999"])
def test_a_name_that_is_almost_a_temporarys_stays(number: str, world: World) -> None:
    name = f".x.kmi-{number}-a"
    world.add_key("alpha")
    for folder in (world.state, world.auths):
        write_private(folder / name, "mine")
        assert left_temporaries(str(folder)) == []
    done = world.kmi("keys")
    assert (done.returncode, "alpha" in done.stdout) == (0, True), done
    assert world.kmi("use", "alpha", "--client", CLI).returncode in {0, 1}
    assert (world.state / name).exists()


@unix
def test_what_a_process_that_is_gone_left_is_found(tmp_path: Path) -> None:
    """The control."""
    write_private(tmp_path / ".x.kmi-999999999-a", "")
    assert left_temporaries(str(tmp_path)) == [str(tmp_path / ".x.kmi-999999999-a")]
