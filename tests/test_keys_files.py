"""`kmi keys add|remove|rename|import`: what is stored can be used, and nothing newer is lost."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CLI, CODE, World, config_text, secret_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "words, why",
    [
        (["--priority", "2000000"], "priority is not valid (write a whole number from"),
        (["--command", "pass\nshow"], "api_key_command has a control character"),
        (["--command", "pass \udcff"], "an option is not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("dry_run", ["0", "1"])
def test_what_kmi_would_not_read_again_is_not_stored(
    world: World, words: list[str], why: str, dry_run: str
) -> None:
    world.env["KMI_DRY_RUN"] = dry_run
    done = world.kmi("keys", "add", "new", *words, input=secret_of("new"))
    assert done.returncode == 2, done
    assert why in done.stderr
    assert list(world.auths.iterdir()) == []


def test_odd_values_are_read_as_they_were_given(world: World) -> None:
    words = ["--priority", "-7", "--email", "a\\'b\nKMI_KEY_DISABLED=1"]
    assert world.kmi("keys", "add", "new", *words, input=secret_of("new")).returncode == 0
    (key,) = world.document("keys")["keys"]
    assert (key["label"], key["priority"], key["status"]) == ("new", -7, "unknown")


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_stdin_that_is_not_text_is_refused(world: World, errors: str) -> None:
    """How Python reads it depends on the locale."""
    done = subprocess.run(
        [sys.executable, "-m", "kmi", "keys", "add", "new"],
        input=b"sk-kimi-\xff\xfe\n",
        env={**world.env, "PYTHONIOENCODING": f"utf-8:{errors}"},
        cwd=world.cwd,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    why = b"it is not text" if errors == "strict" else b"the key has a blank, a non-ASCII"
    assert b"that can't be stored: " + why in done.stderr
    assert list(world.auths.iterdir()) == []


def while_it_waits(world: World, words: list[str], change: Callable[[], object]) -> int:
    """Start kmi while the lock is held, change something when it waits, and let it go on."""
    fcntl = pytest.importorskip("fcntl")
    world.state.mkdir(mode=0o700, exist_ok=True)
    with (world.state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [sys.executable, "-m", "kmi", *words],
            env=world.env,
            cwd=world.cwd,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        process.stderr.readline()  # that it waits
        change()
    said = process.communicate(timeout=60)[1].decode()
    assert "Traceback" not in said
    return process.returncode


def test_the_copy_of_a_removed_key_is_what_was_removed(world: World) -> None:
    path = world.add_key("alpha")
    newer = path.read_text() + "# newer\n"
    words = ["keys", "remove", "alpha", "--yes"]
    assert while_it_waits(world, words, lambda: path.write_text(newer)) == 0
    (copy,) = (world.state / "backups" / "keys").iterdir()
    assert copy.read_text() == newer
    assert not path.exists()


@pytest.mark.parametrize("gone", [False, True])
def test_a_file_that_changed_meanwhile_is_not_renamed(world: World, gone: bool) -> None:
    path = world.add_key("alpha")
    newer = path.read_text() + "# newer\n"

    def change() -> None:
        path.unlink() if gone else path.write_text(newer)

    assert while_it_waits(world, ["keys", "rename", "alpha", "new"], change) == 1
    assert not path.exists() if gone else path.read_text() == newer


def test_labels_that_are_planned_are_those_that_come(world: World) -> None:
    for client, label in ((CLI, "a"), (CODE, "b")):
        world.write_config(client, config_text(secret_of(label)))
    planned = world.document("keys", "import", env={"KMI_DRY_RUN": "1"})["labels"]
    assert len(set(planned)) == 2
    assert world.document("keys", "import")["labels"] == planned
