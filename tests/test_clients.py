"""Which client a program is: by where it lies and what lies beside it, never by running it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kmi.client_args import AGENTS, HANDS_OFF, Call, read_call
from kmi.clients import (
    Identity,
    Program,
    check_not_tombstone,
    configured_client,
    default_client,
    find_program,
    identify,
    is_client_name,
    resolve,
    windows_endings,
)
from kmi.errors import KmiError, NotExecutableError, NotFoundError
from tests.conftest import CLI, CODE, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World

#: Every fake client leaves this mark when it is started.
MARK = "was-started"


def program(path: Path, text: str, mode: int = 0o755) -> Path:
    return write_private(path, text, mode)


def marking(world: World) -> str:
    """A program that leaves a mark: an entry point must never get that far."""
    return f"#!/bin/sh\ntouch '{world.root / MARK}'\n"


def venv(
    root: Path, version: str | None, *, first: str | None = None, lib: str = "lib/python3.13"
) -> Path:
    """A virtual environment with a kimi-cli in it, and the path of its entry point."""
    program(root / "bin" / "python", "")
    if version is not None:
        info = root / lib / "site-packages" / f"kimi_cli-{version}.dist-info"
        write_private(info / "METADATA", f"Name: kimi-cli\nVersion: {version}\n")
    line = f"#!{root}/bin/python" if first is None else first
    return program(root / "bin" / "kimi", f"{line}\nimport sys\n")


def node_module(root: Path) -> Path:
    """An installed Kimi Code, and its main file."""
    main = root / "lib" / "node_modules" / "@moonshot-ai" / "kimi-code" / "dist" / "main.mjs"
    return program(main, "#!/usr/bin/env node\n")


@pytest.mark.parametrize("version", ["1.51.0", "1.52.0", "0.9", "1.50.0rc1"])
def test_a_kimi_cli_in_a_virtual_environment(tmp_path: Path, version: str) -> None:
    assert identify(str(venv(tmp_path, version))) == Identity(CLI, version, sure=True)


@pytest.mark.parametrize(
    "lib", ["lib/python3.12", "lib/python3.14", "Lib"], ids=["3.12", "3.14", "windows"]
)
def test_its_metadata_is_found_in_each_layout(tmp_path: Path, lib: str) -> None:
    assert identify(str(venv(tmp_path, "1.51.0", lib=lib))).version == "1.51.0"


def test_a_link_to_it_as_uv_and_pipx_make_it(tmp_path: Path) -> None:
    link = tmp_path / "local" / "bin" / "kimi"
    link.parent.mkdir(parents=True)
    link.symlink_to(venv(tmp_path / "tools" / "kimi-cli", "1.52.0"))
    assert identify(str(link)) == Identity(CLI, "1.52.0", sure=True)


def test_an_entry_point_elsewhere_is_known_by_its_interpreter(tmp_path: Path) -> None:
    venv(tmp_path / "env", "1.52.0")
    script = program(tmp_path / "scripts" / "kimi", f"#!{tmp_path}/env/bin/python3\n")
    assert identify(str(script)).version == "1.52.0"


def test_the_first_line_of_pip_for_a_long_path(tmp_path: Path) -> None:
    venv(tmp_path / "env", "1.52.0")
    text = f"#!/bin/sh\n'''exec' \"{tmp_path}/env/bin/python3\" \"$0\" \"$@\"\n' '''\n"
    assert identify(str(program(tmp_path / "x" / "kimi", text))) == Identity(
        CLI, "1.52.0", sure=True
    )


@pytest.mark.parametrize("name", ["node", "nodejs-tools", "my node", "anode"])
def test_a_kimi_cli_below_a_folder_with_node_in_its_name(tmp_path: Path, name: str) -> None:
    entry = venv(tmp_path / name / "env", "1.52.0")
    assert identify(str(entry)) == Identity(CLI, "1.52.0", sure=True)


def test_kimi_code_from_npm(tmp_path: Path) -> None:
    main = node_module(tmp_path)
    link = tmp_path / "bin" / "kimi"
    link.parent.mkdir()
    link.symlink_to(main)
    assert identify(str(link)) == Identity(CODE, sure=True)
    assert identify(str(main)) == Identity(CODE, sure=True)


def test_kimi_code_as_its_installer_puts_it(tmp_path: Path) -> None:
    binary = program(tmp_path / ".kimi-code" / "bin" / "kimi", "\x7fELF")
    assert identify(str(binary)) == Identity(CODE, sure=True)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("#!/usr/bin/env node\n", Identity(CODE)),
        ("#!/usr/local/bin/node --no-warnings\n", Identity(CODE)),
        ("#!/usr/bin/env -S node --x\n", Identity(CODE)),
        ("#!/usr/bin/env python3\n", Identity(CLI)),
        ("#!/usr/bin/python3.13\n", Identity(CLI)),
        ("#!/bin/sh\nexec node /x/python\n", Identity(None)),
        ("#!/bin/bash\n", Identity(None)),
        ("\x7fELF", Identity(None)),
        ("", Identity(None)),
        ("#!", Identity(None)),
    ],
)
def test_plain_scripts_are_not_sure(tmp_path: Path, text: str, expected: Identity) -> None:
    assert identify(str(program(tmp_path / "bin" / "kimi", text))) == expected


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert identify(str(tmp_path / "nothing")) == Identity(None)


def pyenv(root: Path, *versions: str) -> Path:
    """A pyenv with a kimi-cli in some of its Pythons, and the shim."""
    for number, version in enumerate(versions):
        venv(root / "versions" / f"3.1{number}.0", version)
    return program(root / "shims" / "kimi", "#!/usr/bin/env bash\nexec pyenv exec kimi\n")


@pytest.mark.parametrize(
    "versions, expected",
    [
        (("1.51.0",), Identity(CLI, "1.51.0", sure=True)),
        (("1.52.0", "1.51.0"), Identity(CLI, "1.52.0", sure=True)),
        (("1.9.0", "1.51.0"), Identity(CLI, "1.51.0", sure=True)),
    ],
)
def test_the_shim_of_pyenv(tmp_path: Path, versions: tuple[str, ...], expected: Identity) -> None:
    assert identify(str(pyenv(tmp_path, *versions))) == expected


def test_other_shims_are_plain_scripts(tmp_path: Path) -> None:
    script = program(tmp_path / "shims" / "kimi", "#!/bin/sh\n")
    assert identify(str(script)) == Identity(None)


@pytest.mark.parametrize(
    "typed, expected",
    [
        ("kimi", True),
        ("/x/kimi", True),
        ("kimi-cli", True),
        ("./kimi-code", True),
        ("kimi2", False),
        ("node", False),
        ("kimi.exe", False),
    ],
)
def test_names(typed: str, expected: bool) -> None:
    assert is_client_name(typed) is expected


# PATH.


def env_of(*folders: Path, home: Path | None = None) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, folders)), "HOME": str(home or "/nonexistent")}


def test_the_first_executable_on_path(tmp_path: Path) -> None:
    program(tmp_path / "a" / "tool", "", 0o644)
    (tmp_path / "b" / "tool").mkdir(parents=True)
    wanted = program(tmp_path / "c" / "tool", "")
    program(tmp_path / "d" / "tool", "")
    folders = [tmp_path / name for name in ("missing", "a", "b", "c", "d")]
    assert resolve("tool", env_of(*folders)) == str(wanted)
    assert resolve(str(wanted), {"PATH": ""}) == str(wanted)


def test_what_is_not_on_path(tmp_path: Path) -> None:
    for typed in ("tool", str(tmp_path / "tool"), "kimi"):
        with pytest.raises(NotFoundError) as error:
            resolve(typed, env_of(tmp_path))
        assert typed in error.value.message
        assert error.value.run_exit_code() == 127
    with pytest.raises(NotFoundError) as error:
        resolve("kimi", env_of(tmp_path))
    assert "npm install" in (error.value.fix or "")


def test_what_cannot_be_executed(tmp_path: Path) -> None:
    program(tmp_path / "tool", "", 0o644)
    for typed in ("tool", str(tmp_path / "tool"), str(tmp_path)):
        with pytest.raises(NotExecutableError) as error:
            resolve(typed, env_of(tmp_path))
        assert error.value.run_exit_code() == 126


def test_a_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as error:
        resolve("x\x1b[2J", env_of(tmp_path))
    assert "\x1b" not in error.value.message


def two_clients(root: Path) -> dict[str, str]:
    """A machine with kimi-cli first and Kimi Code second on PATH."""
    venv(root / "env", "1.51.0")
    (root / "npm").mkdir()
    (root / "npm" / "kimi").symlink_to(node_module(root))
    return env_of(root / "env" / "bin", root / "npm", home=root)


def test_the_first_kimi_is_taken_and_another_one_when_asked_for(tmp_path: Path) -> None:
    env = two_clients(tmp_path)
    cli = Program("kimi", str(tmp_path / "env" / "bin" / "kimi"), CLI, "1.51.0")
    assert find_program("kimi", env, None) == cli
    assert find_program("kimi", env, CLI) == cli
    assert find_program("kimi", env, CODE) == Program("kimi", str(tmp_path / "npm" / "kimi"), CODE)


@pytest.mark.parametrize("wanted", [CLI, CODE])
def test_a_client_that_is_not_there_is_told(tmp_path: Path, wanted: str) -> None:
    folder = tmp_path / ("npm" if wanted == CLI else "env/bin")
    env = {**two_clients(tmp_path), "PATH": str(folder)}
    with pytest.raises(KmiError) as error:
        find_program("kimi", env, wanted)
    assert error.value.code == "other-client"
    assert f"{wanted} was asked for" in error.value.message


@pytest.mark.parametrize("wanted", [CLI, CODE])
def test_a_script_of_the_users_is_what_they_say(tmp_path: Path, wanted: str) -> None:
    script = program(tmp_path / "bin" / "kimi", "#!/bin/sh\n")
    found = find_program("kimi", env_of(tmp_path / "bin", home=tmp_path), wanted)
    assert found == Program("kimi", str(script), wanted)


@pytest.mark.parametrize(
    "configs, expected",
    [((), CODE), ((CLI,), CLI), ((CODE,), CODE), ((CLI, CODE), CODE)],
)
def test_without_a_word_it_is_what_is_set_up(
    world: World, configs: tuple[str, ...], expected: str
) -> None:
    for client in configs:
        world.write_config(client, "")
    world.script("kimi", "exit 0")
    assert configured_client(world.env) == expected
    assert default_client(world.env, None) == expected
    assert find_program("kimi", world.env, None).client == expected
    assert default_client(world.env, CLI) == CLI


def test_the_kimi_on_path_decides_about_the_default(tmp_path: Path) -> None:
    env = two_clients(tmp_path)
    assert default_client(env, None) == CLI
    env["PATH"] = str(tmp_path / "npm")
    assert default_client(env, None) == CODE


def test_any_other_program_is_no_client(tmp_path: Path) -> None:
    tool = program(tmp_path / "tool", "#!/usr/bin/env node\n")
    assert find_program("tool", env_of(tmp_path), CLI) == Program("tool", str(tool), None)


# The tombstone.


@pytest.mark.parametrize(
    "version, gated",
    [
        ("1.51.0", False),
        ("1.9.0", False),
        ("1.52.0", True),
        ("1.52", True),
        ("1.60.1", True),
        ("2.0", True),
        ("1.52.0rc1", True),
        ("1.51.99", False),
        ("unknown", False),
        (None, False),
    ],
)
def test_versions_from_1_52_on_are_refused(version: str | None, gated: bool) -> None:
    found = Program("kimi", "/x/kimi", CLI, version)
    if not gated:
        check_not_tombstone(found)
        return
    with pytest.raises(KmiError) as error:
        check_not_tombstone(found)
    assert error.value.code == "tombstone"
    assert "npm install" in (error.value.fix or "")


def test_the_version_of_another_client_is_no_matter() -> None:
    check_not_tombstone(Program("kimi", "/x/kimi", CODE, "2.1.0"))


@pytest.mark.parametrize(
    "layout", ["venv", "link", "shim", "outside", "node in the path", "named by path"]
)
@pytest.mark.parametrize("arguments", [[], ["--version"], ["login"], ["-p", "hi"]])
def test_a_tombstone_is_named_and_never_started(
    world: World, layout: str, arguments: list[str]
) -> None:
    world.add_keys("alpha", "beta")
    before = world.config_with("alpha")
    root = world.root / ("nodejs" if layout == "node in the path" else "tools")
    entry = venv(root, "1.52.0")
    typed = "kimi"
    if layout == "shim":
        root = world.root / "pyenv"
        venv(root / "versions" / "3.13.0", "1.52.0")
        entry = program(root / "shims" / "kimi", marking(world))
    elif layout == "outside":
        entry = program(world.root / "elsewhere" / "kimi", f"#!{root}/bin/python\n")
        program(root / "bin" / "python", marking(world))
    else:
        program(root / "bin" / "python", marking(world))
        program(entry, f"#!{root}/bin/python\n")
    if layout == "named by path":
        typed = str(entry)
    else:
        (world.bin / "kimi").symlink_to(entry)
        if layout == "shim":
            world.env["PATH"] = f"{entry.parent}{os.pathsep}{world.env['PATH']}"
    done = world.kmi("run", "-k", "beta", "--", typed, *arguments)
    assert done.returncode == 125, done
    assert "1.52.0" in done.stderr
    assert "it was not started" in done.stderr
    assert "npm install -g @moonshot-ai/kimi-code" in done.stderr
    assert done.stdout == ""
    assert not (world.root / MARK).exists()
    assert world.config().read_bytes() == before


def test_a_fake_that_is_not_gated_does_leave_its_mark(world: World) -> None:
    """The control of the test above: the same tree with 1.51.0 is started."""
    world.add_keys("alpha")
    world.config_with("alpha")
    entry = venv(world.root / "tools", "1.51.0")
    program(world.root / "tools" / "bin" / "python", marking(world))
    # The kernel wants a binary as interpreter, so env starts the script.
    program(entry, f"#!/usr/bin/env {world.root}/tools/bin/python\n")
    (world.bin / "kimi").symlink_to(entry)
    done = world.kmi("run", "--", "kimi")
    assert done.returncode == 0, done
    assert (world.root / MARK).exists()


# Command lines.


@pytest.mark.parametrize("client", [CLI, CODE])
@pytest.mark.parametrize("words", ["--version", "-V", "--help", "-h", "login", "logout", "export"])
@pytest.mark.parametrize("before", ["", "--verbose", "-m k", "--model=k", "-p hi"])
def test_calls_that_need_no_key(client: str, words: str, before: str) -> None:
    arguments = [*before.split(), words]
    assert read_call(client, arguments).hands_off(client)
    assert read_call(client, [*arguments, "more"]).hands_off(client)


@pytest.mark.parametrize("client", [CLI, CODE])
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], False),
        (["-p", "hi"], False),
        (["-p", "login"], False),
        (["-p", "--help"], False),
        (["--prompt=--help"], False),
        (["-m", "login"], False),
        (["--model=", "login"], True),  # an empty value is one
        (["--session=", "login"], True),
        (["--resume", "login"], False),
        (["-r", "-p", "login"], False),
        (["acp"], False),
        (["acp", "login"], False),
        (["acp", "--help"], True),
        (["web", "-h"], True),
        (["--", "login"], False),
        (["--", "--help"], False),
        (["-"], False),
        (["some words", "login"], False),
        (["__complete"], True),
    ],
)
def test_calls_of_any_kind(client: str, arguments: list[str], expected: bool) -> None:
    assert read_call(client, arguments).hands_off(client) is expected


@pytest.mark.parametrize(
    "client, words",
    [
        (CLI, "login logout info export mcp plugin vis"),
        (CODE, "login migrate provider doctor upgrade update export fork session vis"),
    ],
)
def test_the_clients_own_lists(client: str, words: str) -> None:
    assert set(words.split()) <= HANDS_OFF[client]
    assert not AGENTS[client] & HANDS_OFF[client]
    assert {"acp", "web"} <= AGENTS[client]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], False),
        (["--config-file", "/x"], True),
        (["--config-file=/x"], True),
        (["-p", "hi", "--config", "{}"], True),
        (["--config-file"], True),
        (["-p", "--config"], False),
        (["--", "--config-file", "/x"], False),
        (["--config-files", "/x"], False),
        (["acp", "--config-file", "/x"], False),
    ],
)
def test_a_config_of_its_own(arguments: list[str], expected: bool) -> None:
    assert read_call(CLI, arguments).own_config is expected
    assert read_call(CODE, arguments).own_config is False  # it has no such option


def test_the_subcommand() -> None:
    assert read_call(CLI, ["--verbose", "acp", "--x"]) == Call("acp", False, False)
    assert read_call(CLI, ["hello"]).subcommand is None
    assert read_call(CODE, ["-m", "acp"]).subcommand is None


@pytest.mark.parametrize(
    "typed, pathext, expected",
    [
        ("kimi", None, [".COM", ".EXE", ".BAT", ".CMD"]),
        ("kimi", ".EXE;.CMD", [".EXE", ".CMD"]),
        ("kimi", ".EXE;", [".EXE"]),
        ("kimi", "", [""]),
        ("kimi.exe", None, [""]),
        ("kimi.CMD", ".exe;.cmd", [""]),
        ("kimi.1", ".EXE", [".EXE"]),
        ("exe", ".EXE", [".EXE"]),
    ],
)
def test_what_windows_puts_behind_a_word(
    typed: str, pathext: str | None, expected: list[str]
) -> None:
    env = {} if pathext is None else {"PATHEXT": pathext}
    assert windows_endings(typed, env) == expected
