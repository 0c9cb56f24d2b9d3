"""The clients' configs: whether they can be read, and can take a key."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from kmi.checks.finding import ERROR, OK, PRIVATE, WARNING, Finding, from_error, shell
from kmi.errors import KmiError
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmi.checks.site import Site
    from kmi.config_file import Snapshot
    from kmi.kimi_config import Config


def client_configs(site: Site) -> Iterator[Finding]:
    """Whether the clients' configs can be read, and can take a key."""
    for client in CLIENTS:
        snapshot = site.config(client)
        if isinstance(snapshot, KmiError):
            yield from_error(
                site.words, snapshot, "client-config", "clients", site.config_path(client)
            )
        elif snapshot.config is not None:
            yield from _client_config(site, snapshot, snapshot.config)
        else:
            what = site.words("check.no-config", client=client)
            detail = not site.used(client)
            yield Finding("client-config", OK, "clients", what, snapshot.path, detail=detail)


def links(site: Site) -> Iterator[Finding]:
    """Configs that are a link, or have a second name: who replaces a file breaks both."""
    for client in site.clients:
        path = site.config_path(client)
        if os.path.islink(path) and os.path.exists(path):
            real = os.path.realpath(path)
            if client == "kimi-code":
                what = site.words("check.link", target=real)
                folder = shell(os.path.dirname(real))
                cure = f"export KIMI_CODE_HOME={folder}"
                yield Finding("config-link", WARNING, "clients", what, path, cure=cure)
            else:
                what = site.words("check.link-fine", client=client, target=real)
                yield Finding("config-link", OK, "clients", what, path, detail=True)
        snapshot = site.config(client)
        status = None if isinstance(snapshot, KmiError) else snapshot.status
        if status is not None and status.st_nlink > 1:
            what = site.words("check.hard-link", count=status.st_nlink)
            copy = shell("cp", "-p", path, f"{path}.new")
            cure = f"{copy} && {shell('mv', f'{path}.new', path)}"
            yield Finding("config-link", WARNING, "clients", what, path, cure=cure)


def _client_config(site: Site, snapshot: Snapshot, config: Config) -> Iterator[Finding]:
    from kmi.config_file import too_open

    words, path = site.words, snapshot.path
    if too_open(snapshot):
        mode = 0 if snapshot.status is None else stat.S_IMODE(snapshot.status.st_mode)
        what = words("check.config-open", mode=f"{mode:04o}")
        cure = shell("chmod", "600", path)
        yield Finding("client-config", WARNING, "clients", what, path, cure=cure, repair=PRIVATE)
    if snapshot.status is not None and not snapshot.status.st_mode & 0o200:
        what, cure = words("check.config-read-only"), shell("chmod", "u+w", path)
        yield Finding("client-config", ERROR, "clients", what, path, cure=cure)
    trouble = _cannot_take_a_key(site, config)
    if trouble is not None:
        yield trouble
        return
    label = _label_in(site, snapshot)
    message = "check.config" if label else "check.config-foreign"
    what = words(message, client=config.client, label=label)
    yield Finding("client-config", OK, "clients", what, path)


def _cannot_take_a_key(site: Site, config: Config) -> Finding | None:
    """Why a swap would be refused, by the code that would refuse it."""
    from kmi.auth_formats import line_of
    from kmi.errors import ConfigError
    from kmi.kimi_edits import Credential, swap_edits

    base_url = site.keys[0].base_url if site.keys else site.settings.upstream_base_url
    provider = config.provider_table
    code = config.client == "kimi-code"
    name, words = config.provider or "", site.words
    held = [field for field in ("api_key", "api_key_env", "oauth") if provider.get(field)]
    if code and len(held) > 1:
        what = words("check.two-credentials", provider=name, fields=", ".join(held))
        cure = words("check.two-credentials-cure", fields=", ".join(held))
        return Finding("credentials", ERROR, "clients", what, config.name, cure=cure)
    if config.has_login:
        both = "check.login-beats" if provider.get("api_key") else "check.login"
        what = words(both, provider=name)
        cure = f"kmi run --adopt --client {config.client} -- kimi"
        return Finding("login", WARNING, "clients", what, config.name, cure=cure)
    try:
        swap_edits(config, Credential("", base_url))
    except ConfigError as error:
        line = line_of(config.text, "default_model")
        found = from_error(site.words, error, "client-config", "clients", config.name)
        return found._replace(severity=WARNING, line=found.line or line)
    return None


def _label_in(site: Site, snapshot: Snapshot) -> str:
    """The label of the key in a config; "" when it is none of kmi's."""
    from kmi.swap import live_key

    live = live_key(snapshot, site.keys)
    return "" if live is None else live.label
