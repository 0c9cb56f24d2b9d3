"""A program (`api_key_command`) that gives another secret each time, and one that comes back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kmi.auth_formats import key_id_of, provisional_id
from kmi.backup_secrets import hidden, hidden_ids, revealed
from kmi.kimi_config import parse_config
from tests.conftest import CLI, CODE, config_text, secret_of, write_private

if TYPE_CHECKING:
    from tests.conftest import World

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the program is a shell script")


def has(world: World, label: str) -> str:
    """Let the program `vault` give a secret; its key is `prog`. Returns the command."""
    store = write_private(world.root / "secret", secret_of(label) + "\n")
    program = world.script("vault", f"cat {store}\n")
    write_private(world.auths / "prog.toml", f"api_key_command = '{program}'\n")
    return str(program)


def gives(world: World, label: str) -> None:
    """Let it give another one, which kmi hears of by a swap of the other client."""
    has(world, label)
    assert world.kmi("use", "other", "--client", CODE).returncode == 0
    done = world.kmi("use", "prog", "--client", CODE)
    assert done.returncode == 0, done
    assert secret_of(label) in world.config(CODE).read_text()


@pytest.fixture
def swapped(world: World) -> World:
    """Kimi-cli had the program's first secret, and was swapped away from it."""
    world.add_keys("alpha", "other")
    world.write_config(CODE, config_text(secret_of("other")))
    world.write_config(CLI, config_text(secret_of("alpha")))
    has(world, "one")
    for label in ("prog", "other"):
        assert world.kmi("use", label, "--client", CLI).returncode == 0
    return world


@pytest.mark.parametrize("later", [["two"], ["two", "three"], ["two", "three", "four"]])
def test_undo_finds_the_program_whatever_it_gave_since(swapped: World, later: list[str]) -> None:
    for label in later:
        gives(swapped, label)
    done = swapped.kmi("undo", "--client", CLI)
    assert done.returncode == 0, done
    assert secret_of(later[-1]) in swapped.config(CLI).read_text()
    assert swapped.kmi("current", "--client", CLI).stdout == "prog\n"


def test_every_earlier_id_leads_to_the_last_one(swapped: World) -> None:
    first = provisional_id(has(swapped, "one"))
    ids = {label: key_id_of(secret_of(label)) for label in ("one", "two", "three")}
    for label in ("two", "three"):
        gives(swapped, label)
    aliases = swapped.saved_state()["aliases"]
    assert aliases == dict.fromkeys((first, ids["one"], ids["two"]), ids["three"])
    gives(swapped, "one")
    aliases = swapped.saved_state()["aliases"]
    assert aliases == dict.fromkeys((first, ids["two"], ids["three"]), ids["one"])
    assert swapped.kmi("undo", "--client", CLI).returncode == 0
    assert secret_of("one") in swapped.config(CLI).read_text()


def test_a_program_that_gave_the_same_secret_keeps_its_own_key(swapped: World) -> None:
    twin = swapped.script("twin", f"echo {secret_of('one')}\n")
    write_private(swapped.auths / "twin.toml", f"api_key_command = '{twin}'\n")
    assert swapped.kmi("use", "twin", "--client", CODE).returncode == 0
    gives(swapped, "two")
    aliases = swapped.saved_state()["aliases"]
    assert aliases[provisional_id(str(twin))] == key_id_of(secret_of("one"))


def test_a_programs_secret_is_hidden_wherever_it_stands() -> None:
    labels = ("table", "tables", "inline")
    raw = (
        '[providers.a]\napi_key = "{}"\n[[mine]]\n[[mine.below]]\napi_key = "{}"\n'
        '[[other]]\nlist = [[{{ api_key = "{}" }}], 1, "x"]\n'
    ).format(*map(secret_of, labels))
    ids = {key_id_of(secret_of(label)): secret_of(label) for label in labels}
    config = parse_config(raw.encode(), name="config.toml", client=CLI)
    safe = hidden(config, raw.encode(), ids)
    assert [label for label in labels if secret_of(label).encode() in safe] == []
    assert hidden_ids(safe) == set(ids)
    assert revealed(safe, ids) == raw.encode()
