"""Which fields of a client's config let a run go through the proxy (pure).

The copy is private to the run: the provider behind ``default_model`` and the services that belong
to the same platform get the proxy's base URL and its token; a login is taken out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmi.errors import ConfigError
from kmi.kimi_config import apply_edits, parse_config, value_at
from kmi.kimi_edits import OWN_NAME, SERVICES, Credential, adopt_edits, minimal_config
from kmi.urls import BaseUrl, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmi.kimi_config import Config, Edits


def proxied_config(
    config: Config | None, client: str, credential: Credential, bases: Sequence[BaseUrl]
) -> bytes:
    """The config of a run through the proxy.

    Args:
        config: the user's; None when there is none, which gives the smallest one.
        client: whose config it is.
        credential: the proxy's token and base URL.
        bases: those of the keys, which the proxy stands for; the first one says which model.

    Raises:
        ConfigError: the default model is of another company, or the edit can't be made safely.
    """
    if config is None:
        raw = minimal_config(credential._replace(base_url=bases[0])).encode()
        config = parse_config(raw, name="config.toml", client=client)
    return apply_edits(config, proxy_edits(config, credential, bases))


def proxy_edits(config: Config, credential: Credential, bases: Sequence[BaseUrl]) -> Edits:
    """The fields that have to change; see `proxied_config`."""
    base_url = str(credential.base_url)
    edits: Edits
    if config.provider is None:
        edits = adopt_edits(config, credential._replace(base_url=bases[0]))
        edits[("providers", OWN_NAME, "base_url")] = base_url
    else:
        _check_kind(config, bases)
        edits = {
            ("providers", config.provider, "api_key"): credential.secret,
            ("providers", config.provider, "base_url"): base_url,
        }
        edits.update(_gone(config.data, ("providers", config.provider), "oauth", "api_key_env"))
        if config.client == "kimi-code" and config.model is not None:
            own = ("models", config.model)
            edits.update(_gone(config.data, own, "oauth", "api_key", "base_url"))
    for name in SERVICES:
        tail = _tail(config, name, bases)
        if tail is not None:
            at = ("services", name)
            edits[(*at, "api_key")] = credential.secret
            edits[(*at, "base_url")] = base_url + tail
            edits.update(_gone(config.data, at, "oauth"))
    return {path: value for path, value in edits.items() if value_at(config.data, path) != value}


def _check_kind(config: Config, bases: Sequence[BaseUrl]) -> None:
    kind = config.provider_table.get("type", "kimi")
    here = _parsed(config.provider_table.get("base_url"))
    if kind == "kimi" or (here and here.platform in {base.platform for base in bases}):
        return
    raise ConfigError(
        f"{config.name}: the provider {config.provider!r} behind default_model is of type "
        f"{str(kind)[:40]!r}, not a Kimi provider",
        "point default_model at a Kimi model, or run without --proxy",
        code="not-kimi",
    )


def _gone(data: Any, at: tuple[str, ...], *fields: str) -> Edits:
    """Edits that remove fields which are there."""
    return {(*at, name): None for name in fields if value_at(data, (*at, name)) is not None}


def _tail(config: Config, name: str, bases: Sequence[BaseUrl]) -> str | None:
    """The path of a service below its base, such as ``/search``; None for one of others."""
    service = value_at(config.data, ("services", name))
    if not isinstance(service, dict) or not (service.get("api_key") or service.get("oauth")):
        return None
    url = _parsed(service.get("base_url"))
    if url is None:
        return None
    for base in sorted(bases, key=lambda base: -len(base.path)):
        if url.platform == base.platform and url.path.startswith(f"{base.path}/"):
            return url.path[len(base.path) :]
    return None


def _parsed(url: Any) -> BaseUrl | None:
    try:
        return parse_base_url(url) if isinstance(url, str) else None
    except ValueError:
        return None
