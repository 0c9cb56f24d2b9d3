"""Secrets that a program gives (`api_key_command`): run without a shell, never stored by kmi."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kmi.auth_formats import check_secret, key_id_of
from kmi.errors import KmiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmi.model import ApiKey

#: How long a program may take; a locked password store asks its person within that time.
COMMAND_TIMEOUT_S = 10.0


def resolve_secret(key: ApiKey, env: Mapping[str, str]) -> ApiKey:
    """The key with its secret and its true key id.

    The program's stderr goes to the terminal, for it may ask for a passphrase. Of its stdout the
    first line is taken.

    Raises:
        KmiError: it failed, took too long, or gave nothing that can be a key.
    """
    if key.secret is not None or key.command is None:
        return key
    import shlex
    import subprocess

    try:
        words = shlex.split(key.command)
    except ValueError:
        raise _failed(key, "has unbalanced quotes") from None
    if not words:
        raise _failed(key, "is empty")
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            env=dict(env),
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise _failed(key, f"names {words[0]!r}, which is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise _failed(key, f"took longer than {COMMAND_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise _failed(key, f"can't be run: {error.strerror}") from None
    if done.returncode != 0:
        raise _failed(key, f"ended with exit code {done.returncode}")
    first = done.stdout.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    try:
        check_secret(first)
    except ValueError as error:
        raise _failed(key, f"gave no usable key: {error}") from None
    return dataclasses.replace(key, secret=first, key_id=key_id_of(first))


def _failed(key: ApiKey, why: str) -> KmiError:
    where = key.source if key.line is None else f"{key.source}:{key.line}"
    return KmiError(
        f"{where}: the api_key_command of {key.label!r} {why}",
        "run it by hand to see what it prints",
        code="command-failed",
    )
