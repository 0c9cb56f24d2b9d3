"""Which client a program is.

Decided by path and package metadata, never by running it: asking Kimi Code for its version takes
seconds, and kimi-cli 1.52 must not be started at all (clients.md).
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from kmi.client_args import CLI, CODE
from kmi.errors import KmiError, NotExecutableError, NotFoundError
from kmi.paths import client_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Commands that are a Kimi client by their name.
CLIENT_NAMES = {"kimi", "kimi-cli", "kimi-code"}
#: From this version on kimi-cli only prints a notice, and when started bare pipes a download into
#: a shell (MoonshotAI/kimi-cli#2660).
TOMBSTONE = (1, 52)


class Program(NamedTuple):
    """A program that was found.

    Attributes:
        typed: the word on the command line; it becomes ``argv[0]``.
        path: the file.
        client: "kimi-cli", "kimi-code", or None for any other program.
        version: of a kimi-cli, from its package metadata; None when not known.
    """

    typed: str
    path: str
    client: str | None
    version: str | None = None


class Identity(NamedTuple):
    """What a file is: ``sure`` when the package itself says so, not only the interpreter."""

    client: str | None
    version: str | None = None
    sure: bool = False


def is_client_name(typed: str) -> bool:
    """Whether a word names a Kimi client."""
    name = os.path.basename(typed)
    if os.name == "nt":
        name = re.sub(r"\.(exe|cmd|bat|ps1)$", "", name, flags=re.IGNORECASE)
    return name in CLIENT_NAMES


def candidates(typed: str, env: Mapping[str, str]) -> Iterator[str]:
    """The files that a word could mean, in the order of PATH."""
    if os.sep in typed or (os.altsep and os.altsep in typed):
        yield typed
        return
    endings = windows_endings(typed, env) if os.name == "nt" else [""]
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        for ending in endings:
            # An empty part of PATH is the working directory, as for the shell.
            yield os.path.join(folder or ".", typed + ending)


def windows_endings(typed: str, env: Mapping[str, str]) -> list[str]:
    """What Windows puts behind a word to find a program: nothing where an ending was typed.

    >>> windows_endings("kimi.exe", {}), windows_endings("kimi", {"PATHEXT": ".EXE;.CMD"})
    ([''], ['.EXE', '.CMD'])
    """
    endings = [part for part in env.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").split(";") if part]
    typed_one = typed.lower().endswith(tuple(map(str.lower, endings)))
    return [""] if typed_one or not endings else endings


def resolve(typed: str, env: Mapping[str, str]) -> str:
    """The file that a word means.

    Raises:
        NotFoundError: there is none.
        NotExecutableError: there is one, but it can't be executed.
    """
    return next(_executables(typed, env))


def _executables(typed: str, env: Mapping[str, str]) -> Iterator[str]:
    found = False
    refused = None
    for path in candidates(typed, env):
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            refused = refused or (path if path == typed else None)
        elif os.access(path, os.X_OK):
            found = True
            yield path
        else:
            refused = refused or path
    if found:
        return
    if refused is not None:
        raise NotExecutableError(f"{refused} can't be executed", "check the file and its mode")
    shown = typed if typed.isprintable() else ascii(typed)
    where = "does not exist" if os.sep in typed else "is not on PATH"
    raise NotFoundError(f"{shown} {where}", _install_hint(typed))


def _install_hint(typed: str) -> str:
    if is_client_name(typed):
        return "install Kimi Code: npm install -g @moonshot-ai/kimi-code"
    return "check the spelling and PATH"


def find_program(typed: str, env: Mapping[str, str], wanted: str | None) -> Program:
    """Find a program, and say which client it is.

    Args:
        typed: the word on the command line.
        env: the environment that it will get.
        wanted: the client that was asked for by ``--client`` or ``KMI_CLIENT``, or None.

    Raises:
        NotFoundError, NotExecutableError: as `resolve`.
        KmiError: ``kimi`` is the other client, everywhere on PATH.
    """
    if not is_client_name(typed):
        return Program(typed, resolve(typed, env), None)
    others = []
    for path in _executables(typed, env):
        found = identify(path)
        if not found.sure and (wanted is not None or found.client is None):
            # A script of the user's: what they say it is, else what is set up.
            return Program(typed, path, wanted or configured_client(env))
        if wanted is None or found.client == wanted:
            return Program(typed, path, found.client, found.version)
        others.append((path, found.client))
    path, client = others[0]
    raise KmiError(
        f"{path} is {client}, and {wanted} was asked for",
        f"install {wanted}, or use --client {client}",
        code="other-client",
    )


def identify(path: str) -> Identity:
    """Which client a file is, by where it lies, its first line and its package's metadata."""
    real = os.path.realpath(path)
    parts = real.replace(os.sep, "/")
    if "/node_modules/@moonshot-ai/kimi-code/" in parts or "/.kimi-code/bin/" in parts:
        return Identity(CODE, sure=True)
    shim = _behind_shim(path)
    if shim is not None:
        return identify(shim)
    first = _first_line(real)
    version = _kimi_cli_version(real, first)
    if version is not None:
        return Identity(CLI, version, sure=True)
    interpreter = _interpreter_name(first)
    if interpreter.startswith(("node", "bun", "deno")):
        return Identity(CODE)
    return Identity(CLI if interpreter.startswith("python") else None)


def _first_line(path: str) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        return ""
    if not head.startswith(b"#!"):
        return ""
    line = head.split(b"\n")[0].decode("utf-8", "replace")
    if line.rstrip() == "#!/bin/sh" and b"'''exec'" in head:
        # pip's form for interpreters with a long path.
        return head.split(b"\n")[1].decode("utf-8", "replace")
    return line


def _interpreter_name(first: str) -> str:
    """The base name of the interpreter in a first line; of what `env` starts, if it is that."""
    found = re.findall(r"[^\s\"']+", first.replace("#!", "", 1))
    names = [os.path.basename(word) for word in found if not word.startswith("-")]
    names = [name for name in names if name not in {"env", "exec"} and "=" not in name]
    return names[0] if names else ""


def _behind_shim(path: str) -> str | None:
    """The file behind a shim of pyenv, which is a shell script with no version of its own."""
    import glob

    folder, name = os.path.split(os.path.abspath(path))
    root = os.path.dirname(folder)
    if os.path.basename(folder) != "shims" or not os.path.isdir(os.path.join(root, "versions")):
        return None
    found = sorted(glob.glob(os.path.join(glob.escape(root), "versions", "*", "bin", name)))
    versions = [(_as_numbers(identify(item).version or ""), item) for item in found]
    # Which of them pyenv would take depends on more than kmi knows: a gated one decides.
    return max(versions)[1] if versions else None


def _kimi_cli_version(real: str, first: str) -> str | None:
    """The version in the metadata of the package that an entry point belongs to."""
    import glob

    prefixes = [os.path.dirname(os.path.dirname(real))]
    interpreter = first[2:].strip().strip('"').split()[:1] if first.startswith("#!") else []
    if not interpreter:
        interpreter = re.findall(r"(/[^\"' ]*python[^\"' ]*)", first)[:1]
    if interpreter and os.path.isabs(interpreter[0]):
        prefixes.append(os.path.dirname(os.path.dirname(interpreter[0])))
    for prefix in prefixes:
        for lib in ("lib/python*/site-packages", "lib/python*/dist-packages", "Lib/site-packages"):
            pattern = os.path.join(glob.escape(prefix), lib, "kimi_cli-*.dist-info")
            for info in glob.glob(pattern):
                return os.path.basename(info)[len("kimi_cli-") : -len(".dist-info")]
    return None


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_not_tombstone(program: Program) -> None:
    """Refuse to start a kimi-cli that is only a notice any more.

    Raises:
        KmiError: it is one; nothing was started.
    """
    if program.client == CLI and _as_numbers(program.version or "") >= TOMBSTONE:
        raise KmiError(
            f"{program.path} is kimi-cli {program.version}, which no longer works: it only prints "
            "a notice, and may run an installer; it was not started",
            "install Kimi Code (npm install -g @moonshot-ai/kimi-code), "
            "or go back: pip install 'kimi-cli<1.52'",
            code="tombstone",
        )


def configured_client(env: Mapping[str, str]) -> str:
    """The client that is set up here: the successor, unless only kimi-cli has a config."""
    if not os.path.lexists(client_config(CODE, env)) and os.path.lexists(client_config(CLI, env)):
        return CLI
    return CODE


def default_client(env: Mapping[str, str], wanted: str | None) -> str:
    """The client whose config is meant when no client is run."""
    if wanted is not None:
        return wanted
    for path in candidates("kimi", env):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return identify(path).client or configured_client(env)
    return configured_client(env)
