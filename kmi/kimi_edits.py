"""Which fields of a client's config have to change for a key (pure).

Rules, and where they come from (kimi-cli 1.51.0, Kimi Code 2.1.0):

* The provider is the one behind ``default_model``; a model of Kimi Code may carry its own
  ``api_key``, which beats the provider's, so that one is swapped too.
* A provider with an ``oauth`` reference is a login: kimi-cli ignores an API key beside it, and
  Kimi Code refuses the pair. It is never edited; a provider of kmi's own can stand beside it.
* ``services.moonshot_search`` and ``moonshot_fetch`` hold a key of their own. It is swapped when
  the service is on the very host that the new key is for: no key is written beside another host.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kmi.errors import ConfigError
from kmi.kimi_config import Config, Edits, Path, value_at
from kmi.urls import BaseUrl, parse_base_url

#: What kmi calls the provider and the model alias that it adds beside a login.
OWN_NAME = "kmi"
#: The model of the coding plan, and its context size, as the clients themselves write them.
PLAN_MODEL, PLAN_CONTEXT = "kimi-for-coding", 262_144
#: A model of the open platform, for a key that is not for the plan.
PLATFORM_MODEL = "kimi-k2.5"
SERVICES = ("moonshot_search", "moonshot_fetch")


class Credential(NamedTuple):
    """What is written: a secret, and the base URL it is for."""

    secret: str
    base_url: BaseUrl

    def __repr__(self) -> str:
        """Without anything secret."""
        return f"Credential(base_url={str(self.base_url)!r})"


def swap_edits(config: Config, credential: Credential) -> Edits:
    """The fields that have to change so that the client uses a credential; empty if none.

    Raises:
        ConfigError: there is no provider to edit, or it is a login, or not for Kimi.
    """
    if config.provider is None:
        raise ConfigError(
            f"{config.name} has no default model, so there is no provider to put a key into",
            "run with --adopt to let kmi add a provider and a model",
            code="no-model",
        )
    if config.has_login:
        raise ConfigError(
            f"{config.name} has an OAuth login (provider {config.provider!r}), "
            "beside which an API key has no effect",
            "run with --adopt to let kmi add a provider of its own beside it",
            code="oauth-login",
        )
    if config.key_variable is not None:
        raise ConfigError(
            f"{config.name}: provider {config.provider!r} takes its key from the variable "
            f"{config.key_variable}, not from the file",
            "remove api_key_env, or use `kmi run`, which sets the variable",
            code="key-variable",
        )
    _check_provider_type(config, credential)
    wanted: Edits = {}
    at: Path = ("providers", config.provider)
    wanted[(*at, "api_key")] = credential.secret
    if not _same_url(config.provider_table.get("base_url"), credential.base_url):
        wanted[(*at, "base_url")] = str(credential.base_url)
    if config.client == "kimi-code" and config.model is not None:
        own = config.model_table
        if own.get("api_key"):
            wanted[("models", config.model, "api_key")] = credential.secret
        if own.get("base_url") and not _same_url(own["base_url"], credential.base_url):
            wanted[("models", config.model, "base_url")] = str(credential.base_url)
    wanted.update(_service_edits(config, credential))
    return {path: value for path, value in wanted.items() if value_at(config.data, path) != value}


def _check_provider_type(config: Config, credential: Credential) -> None:
    """A Kimi key is not written into a provider of another company."""
    kind = config.provider_table.get("type", "kimi")
    here = config.provider_table.get("base_url")
    if kind == "kimi" or _platform(here) == credential.base_url.platform:
        return
    raise ConfigError(
        f"{config.name}: the provider {config.provider!r} behind default_model is of type "
        f"{str(kind)[:40]!r}, not a Kimi provider",
        "point default_model at a Kimi model, or run with --adopt to let kmi add one",
        code="not-kimi",
    )


def _service_edits(config: Config, credential: Credential) -> Edits:
    services = config.data.get("services", {})
    edits: Edits = {}
    for name in SERVICES:
        service = services.get(name) if isinstance(services, dict) else None
        if not isinstance(service, dict) or service.get("oauth") or not service.get("api_key"):
            continue
        if _platform(service.get("base_url")) == credential.base_url.platform:
            edits[("services", name, "api_key")] = credential.secret
    return edits


def pin_edits(config: Config, credential: Credential) -> Edits:
    """The edits of a private copy for one kimi-cli run: as a swap, with any login taken out."""
    if config.provider is None or not config.has_login:
        return (
            adopt_edits(config, credential)
            if config.provider is None
            else swap_edits(config, credential)
        )
    at: Path = ("providers", config.provider)
    edits: Edits = {
        (*at, "oauth"): None,
        (*at, "api_key"): credential.secret,
        (*at, "base_url"): str(credential.base_url),
    }
    if config.client == "kimi-code" and config.model is not None:
        for field_name in ("oauth", "api_key", "base_url"):
            if field_name in config.model_table:
                edits[("models", config.model, field_name)] = None
    services = config.data.get("services", {})
    for name in SERVICES:
        service = services.get(name) if isinstance(services, dict) else None
        if isinstance(service, dict) and (
            _platform(service.get("base_url")) == credential.base_url.platform
        ):
            edits[("services", name, "api_key")] = credential.secret
            if "oauth" in service:
                edits[("services", name, "oauth")] = None
    return edits


def adopt_edits(config: Config, credential: Credential) -> Edits:
    """A provider and a model alias of kmi's own beside what is there, and ``default_model`` on it.

    The new model copies the current one where that is a Kimi model of the same platform.
    """
    wanted: Edits = {
        ("providers", OWN_NAME, "type"): "kimi",
        ("providers", OWN_NAME, "base_url"): str(credential.base_url),
        ("providers", OWN_NAME, "api_key"): credential.secret,
    }
    for name, value in model_for(config, credential).items():
        wanted[("models", OWN_NAME, name)] = value
    wanted[("models", OWN_NAME, "provider")] = OWN_NAME
    wanted[("default_model",)] = OWN_NAME
    return {path: value for path, value in wanted.items() if value_at(config.data, path) != value}


def undo_edits(now: Config, before: Config, kind: str) -> Edits:
    """The edits that take a swap or an adoption back in a config that others changed since.

    A swap: every credential field has its old value again. An adoption: the provider and the
    model of kmi's own go, and ``default_model`` is the old one, if it still is kmi's.
    """
    edits: Edits = {}
    if kind == "adopt":
        if now.data.get("default_model") == OWN_NAME:
            edits[("default_model",)] = before.data.get("default_model")
        for table in ("providers", "models"):
            if value_at(before.data, (table, OWN_NAME)) is None:
                edits[(table, OWN_NAME)] = None
    fields = [("services", name, "api_key") for name in SERVICES]
    for table in ("providers", "models"):
        for name in before.data.get(table, {}):
            fields += [(table, name, "api_key"), (table, name, "base_url")]
    for path in fields:
        if value_at(now.data, path[:-1]) is not None:
            edits[path] = value_at(before.data, path)
    return {path: value for path, value in edits.items() if value_at(now.data, path) != value}


def model_for(config: Config | None, credential: Credential) -> dict[str, Any]:
    """``model``, ``max_context_size`` and ``capabilities`` of a model for a credential."""
    if config is not None and config.provider_table.get("type", "") == "kimi":
        there = _platform(config.provider_table.get("base_url"))
        current = config.model_table
        if there == credential.base_url.platform and isinstance(current.get("model"), str):
            kept = {
                k: current[k] for k in ("model", "max_context_size", "capabilities") if k in current
            }
            kept.setdefault("max_context_size", PLAN_CONTEXT)
            return kept
    plan = credential.base_url.path.startswith("/coding")
    return {
        "model": PLAN_MODEL if plan else PLATFORM_MODEL,
        "max_context_size": PLAN_CONTEXT,
    }


def minimal_config(credential: Credential) -> str:
    """The smallest config that both clients accept (clients.md)."""
    model = model_for(None, credential)
    # A JSON string of ASCII text is a basic string of TOML.
    return (
        f'default_model = "{OWN_NAME}"\n\n'
        f"[providers.{OWN_NAME}]\n"
        'type = "kimi"\n'
        f"base_url = {json.dumps(str(credential.base_url))}\n"
        f"api_key = {json.dumps(credential.secret)}\n\n"
        f"[models.{OWN_NAME}]\n"
        f'provider = "{OWN_NAME}"\n'
        f'model = "{model["model"]}"\n'
        f"max_context_size = {model['max_context_size']}\n"
    )


def _platform(url: Any) -> tuple[str, int] | None:
    parsed = _parsed(url)
    return None if parsed is None else parsed.platform


def _parsed(url: Any) -> BaseUrl | None:
    try:
        return parse_base_url(url) if isinstance(url, str) else None
    except ValueError:
        return None


def _same_url(url: Any, wanted: BaseUrl) -> bool:
    return _parsed(url) == wanted
