"""The clients themselves: which `kimi` a run would start, and what in the environment defeats it.

Told by path and package metadata; no client is started.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from kmi.checks.finding import ERROR, OK, WARNING, Finding, from_error, shell
from kmi.client_args import CLI, CODE
from kmi.clients import CLIENT_NAMES, candidates, check_not_tombstone, find_program, identify
from kmi.errors import KmiError, NotFoundError
from kmi.launcher import defeating

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kmi.checks.site import Site
    from kmi.clients import Program

#: What the package of Kimi Code asks for (clients.md).
NODE_NEEDED = (22, 19)
#: kimi-cli gives these to providers of OpenAI's kinds.
OPENAI = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
OPENAI_TYPES = {"openai_legacy", "openai_responses"}
_PACKAGE = "/node_modules/@moonshot-ai/kimi-code/"


def programs(site: Site) -> Iterator[Finding]:
    """The `kimi` that a run would start, and every other client on PATH."""
    # Both clients call themselves `kimi`; where one goes by another name only, that is meant.
    names = ["kimi", *sorted(CLIENT_NAMES - {"kimi"})]
    typed = next((name for name in names if next(_on_path(name, site.env), None)), "kimi")
    try:
        program: Program | None = find_program(typed, site.env, site.wanted_client)
    except NotFoundError as error:
        program = None
        found = from_error(site.words, error, "client", "clients")
        yield found._replace(severity=WARNING, cure="npm install -g @moonshot-ai/kimi-code")
    except KmiError as error:
        program = None
        yield from_error(site.words, error, "client", "clients")
    if program is not None:
        try:
            check_not_tombstone(program)
        except KmiError as error:
            yield from_error(site.words, error, "tombstone", "clients", program.path)
        else:
            what = _described(program.client, program.version, program.path)
            yield Finding("client", OK, "clients", what, program.path)
        yield from _interpreter(site, program.path)
        if program.client == CODE:
            yield from _node(site)
    seen = {os.path.realpath(program.path)} if program is not None else set()
    for name in names:
        for path in _on_path(name, site.env):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                other = identify(path)
                what = _described(other.client, other.version, path)
                yield Finding("client", OK, "clients", what, path, detail=True)


def _described(client: str | None, version: str | None, path: str) -> str:
    if client == CODE and version is None:
        version = _code_version(path)
    return f"{client or 'kimi'} {version or ''}".strip() + f" ({path})"


def _code_version(path: str) -> str | None:
    """The version in the ``package.json`` of a Kimi Code."""
    real = os.path.realpath(path).replace(os.sep, "/")
    root, found, _ = real.partition(_PACKAGE)
    if not found:
        return None
    try:
        with open(f"{root}{_PACKAGE}package.json", "rb") as file:
            version = json.loads(file.read(1 << 20)).get("version")
    except (OSError, ValueError, AttributeError):
        return None
    return version if isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,40}", version) else None


def _on_path(name: str, env: Mapping[str, str]) -> Iterator[str]:
    for path in candidates(name, env):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            yield path


def _interpreter(site: Site, path: str) -> Iterator[Finding]:
    """Whether the interpreter that a script names is there: an update of Python takes it away."""
    try:
        with open(os.path.realpath(path), "rb") as file:
            lines = file.read(512).decode("utf-8", "replace").split("\n")
    except OSError:
        return
    words = lines[0][2:].split() if lines[0].startswith("#!") else []
    if not words:
        return
    if words == ["/bin/sh"] and len(lines) > 1 and "'''exec'" in lines[1]:
        # pip's form for interpreters with a long path.
        words = re.findall(r"/[^\"']+", lines[1].partition("exec'")[2])[:1] or words
    where = ""
    if os.path.basename(words[0]) == "env":
        names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        if names and next(_on_path(names[0], site.env), None) is None:
            where = site.words("check.not-on-path", name=names[0])
    elif not os.path.exists(words[0]):
        where = site.words("check.gone", path=words[0])
    if where:
        what = site.words("check.no-interpreter", why=where)
        cure = site.words("check.install-again")
        yield Finding("interpreter", ERROR, "clients", what, path, cure=cure)


def _node(site: Site) -> Iterator[Finding]:
    """Whether Node is new enough, where its version can be told without starting it."""
    path = next(_on_path("node", site.env), None)
    if path is None:
        return
    version = _node_version(os.path.realpath(path))
    if version is not None and version < NODE_NEEDED:
        shown, needed = ".".join(map(str, version)), ".".join(map(str, NODE_NEEDED))
        what = site.words("check.old-node", version=shown, needed=needed)
        cure = site.words("check.update-node", needed=needed)
        yield Finding("node", ERROR, "clients", what, path, cure=cure)


def _node_version(real: str) -> tuple[int, ...] | None:
    """Major and minor version: from the path (nvm, fnm), or the headers beside it."""
    found = re.search(r"/v(\d+)\.(\d+)\.\d+/", real.replace(os.sep, "/"))
    if found is not None:
        return int(found[1]), int(found[2])
    prefix = os.path.dirname(os.path.dirname(real))
    try:
        with open(f"{prefix}/include/node/node_version.h", encoding="utf-8") as file:
            text = file.read(1 << 16)
    except (OSError, ValueError):
        return None
    numbers = [
        re.search(rf"#define NODE_{part}_VERSION (\d+)", text) for part in ("MAJOR", "MINOR")
    ]
    return tuple(int(number[1]) for number in numbers if number is not None) or None


def variables(site: Site) -> Iterator[Finding]:
    """Exported variables by which a client would take another key, or look elsewhere."""
    nested = bool(site.env.get("KMI_RUN_ID"))
    for client in site.clients:
        cleared, notes = defeating(client, site.env, "", nested=nested)
        names = [name for name in cleared if site.env.get(name)]
        if notes and names:
            yield _exported(site, client, names, "check.exported")
    snapshot = site.config(CLI)
    if not isinstance(snapshot, KmiError) and snapshot.config is not None:
        kind = snapshot.config.provider_table.get("type")
        names = [name for name in OPENAI if site.env.get(name)]
        if names and kind in OPENAI_TYPES:
            yield _exported(site, CLI, names, "check.exported-openai")
    share = site.env.get("KIMI_SHARE_DIR", "")
    if share and not os.path.isabs(share):
        tilde = share.startswith("~")
        what = site.words("check.share-tilde" if tilde else "check.share-relative", value=share)
        full = os.path.expanduser(share) if tilde else os.path.abspath(share)
        cure = f"export KIMI_SHARE_DIR={shell(full)}"
        yield Finding("variable", WARNING, "clients", what, cure=cure)


def _exported(site: Site, client: str, names: list[str], message: str) -> Finding:
    what = site.words(message, names=", ".join(names), client=client)
    return Finding("variable", WARNING, "clients", what, cure=shell("unset", *names))
