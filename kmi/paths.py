"""Where each file lives, from an environment mapping. Nothing is opened or created here."""

from __future__ import annotations

import os

from kmi.errors import ConfigError

# `typing` is not imported: `kmi init` runs at the start of every shell.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: The project binding, in a project's directory.
BINDING = ".kmi.toml"
#: The directory that holds the package: a checkout, or some site-packages.
PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def checkout() -> str | None:
    """The root of the checkout that kmi runs from; None when it is installed."""
    if os.path.isfile(os.path.join(PACKAGE_PARENT, "pyproject.toml")):
        return PACKAGE_PARENT
    return None


def home(env: Mapping[str, str]) -> str:
    """The user's home directory.

    Raises:
        ConfigError: there is none, or it is not an absolute path.
    """
    where = env.get("HOME" if os.name != "nt" else "USERPROFILE", "")
    if not where:
        where = os.path.expanduser("~")
    if not os.path.isabs(where):
        raise ConfigError("HOME is not set to an absolute path", "set HOME, or KMI_STATE_DIR")
    return where


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand a leading ``~``; nothing else."""
    if text == "~" or text.startswith("~/"):
        return home(env) + text[1:]
    return text


def default_state_dir(env: Mapping[str, str]) -> str:
    """``~/.kmi``."""
    return os.path.join(home(env), ".kmi")


def default_auths_dir(env: Mapping[str, str]) -> str:
    """The checkout's ``_auths``, else ``~/.kmi/_auths``; never one of the current directory."""
    root = checkout()
    if root is not None and os.path.isdir(os.path.join(root, "_auths")):
        return os.path.join(root, "_auths")
    return os.path.join(home(env), ".kmi", "_auths")


def default_env_file(env: Mapping[str, str]) -> str:
    """The checkout's ``.env``, else ``~/.kmi/.env``; never one of the current directory."""
    root = checkout()
    if root is not None and os.path.isfile(os.path.join(root, ".env")):
        return os.path.join(root, ".env")
    return os.path.join(home(env), ".kmi", ".env")


def working_directory() -> str:
    """Where kmi was started, without links; "" when it does not exist any more."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def bindings_above(folder: str) -> list[str]:
    """Every `.kmi.toml` in a directory and in those above it, nearest first."""
    found = []
    while folder:
        path = os.path.join(folder, BINDING)
        try:
            os.lstat(path)
        except FileNotFoundError:
            pass
        except OSError:
            found.append(path)  # it can't be seen; who reads it will be told why
        else:
            found.append(path)
        parent = os.path.dirname(folder)
        if parent == folder:
            break
        folder = parent
    return found


def client_home(client: str, env: Mapping[str, str]) -> str:
    """The home of a client, found as that client finds it (clients.md).

    kimi-cli does not expand ``~`` in its variable; a relative one counts from the working
    directory.
    Kimi Code reads its config from the working directory when the variable is set but empty,
    which kmi
    refuses to follow.

    Inside a pinned run `KIMI_SHARE_DIR` or `KIMI_CODE_HOME` may be a private home; kmi itself
    looks at the real one.

    Raises:
        ConfigError: ``KIMI_CODE_HOME`` is set but empty.
    """
    if client == "kimi-cli":
        share = env.get("KMI_CLI_HOME") or env.get("KIMI_SHARE_DIR", "")
        return os.path.abspath(share) if share else os.path.join(home(env), ".kimi")
    code = env.get("KMI_CLIENT_HOME") or env.get("KIMI_CODE_HOME")
    if code == "":
        raise ConfigError(
            "KIMI_CODE_HOME is set but empty, so Kimi Code would read the current directory",
            "unset KIMI_CODE_HOME",
        )
    return os.path.abspath(code) if code else os.path.join(home(env), ".kimi-code")


def client_config(client: str, env: Mapping[str, str]) -> str:
    """The ``config.toml`` of a client."""
    return os.path.join(client_home(client, env), "config.toml")
