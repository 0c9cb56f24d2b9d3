"""The token that the proxy's clients send as their API key; in no URL, and never sent upstream."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmi.digest import sha256_hex
from kmi.errors import ConfigError, KmiError, RefusedError
from kmi.files import others_can_read, read_regular, write_atomic
from kmi.lock import locked
from kmi.setting_kinds import read_token

if TYPE_CHECKING:
    from kmi.app import App

#: Below the state directory.
FILE = "proxy.token"
#: 256 bit; whoever has the token spends the keys' quota.
TOKEN_BYTES = 32


def load_token(app: App) -> str:
    """``KMI_PROXY_TOKEN``, else what the file holds; it is made once. The state's lock is not held.

    Raises:
        ConfigError: the file holds no token.
        RefusedError: it can't be read or written, or others could have read it.
    """
    if app.settings.proxy_token:
        return app.settings.proxy_token
    path = token_path(app)
    token = _read(app, path)
    if token is not None:
        return token
    app.store.prepare()
    with locked(app.store.path("lock"), app.screen.note):
        # Another kmi may have been faster.
        token = _read(app, path)
        if token is None:
            import secrets

            token = secrets.token_urlsafe(TOKEN_BYTES)
            try:
                write_atomic(path, token.encode() + b"\n")
            except OSError as error:
                raise RefusedError(
                    f"can't write {path}: {error.strerror}", "check the disk, its owner and mode"
                ) from None
    return token


def known_token(app: App) -> str | None:
    """The token of a proxy that may run; None when it can't be told. None is made."""
    try:
        return app.settings.proxy_token or _read(app, token_path(app))
    except KmiError:
        return None


def token_path(app: App) -> str:
    """The file of the generated token."""
    return app.store.path(FILE)


def token_origin(app: App) -> str:
    """Where a person finds the token: a file, or the setting and where that is."""
    if app.settings.proxy_token:
        origin = app.words.sentence(app.settings.origin("KMI_PROXY_TOKEN"))
        return f"KMI_PROXY_TOKEN ({origin})"
    return token_path(app)


def token_id(token: str) -> str:
    """A name for a token, by which two processes see whether they have the same one."""
    return sha256_hex(token.encode())[:12]


def _read(app: App, path: str) -> str | None:
    try:
        data, status = read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"can't read {path}: {error.strerror}", "check its owner") from None
    if os.name != "nt" and status.st_uid != os.geteuid():
        raise RefusedError(f"{path} belongs to another user", f"remove it: rm {path}")
    if others_can_read(status.st_mode):
        _tighten(app, path)
    try:
        return read_token(data.decode("ascii").strip(), app.env)
    except ValueError:
        raise ConfigError(
            f"{path} does not hold a token", f"remove it, and the next start makes one: rm {path}"
        ) from None


def _tighten(app: App, path: str) -> None:
    again = f"rm {path}, then `kmi proxy restart`: a new one is made"
    if not app.settings.enforce_file_perms:
        raise RefusedError(f"others can read {path}", again)
    try:
        os.chmod(path, 0o600)
    except OSError as error:
        raise RefusedError(f"others can read {path}: {error.strerror}", again) from None
    app.screen.warn(app.words("proxy.token-open", path=path))
