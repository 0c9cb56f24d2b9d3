"""The edit of a client's ``config.toml``: text in, text out, nothing but the named fields changed.

Which fields those are is decided in `kimi_edits`. After an edit the text is parsed again: the data
must be the old data with the intended values, and the lines must be the old lines but for the
edited ones. Else nothing is returned.
"""

from __future__ import annotations

import copy
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: tomlkit takes about 8 s for 1 MB with 10,000 tables; nobody writes such a config by hand.
MAX_CONFIG_BYTES = 1024 * 1024

_BOM = b"\xef\xbb\xbf"
Path = tuple[str, ...]


class Config(NamedTuple):
    """A parsed client config.

    Attributes:
        name: names the file in messages.
        data: plain values; never changed.
        provider: the name of the provider behind ``default_model``; None when there is none.
        model: the alias behind ``default_model``; None when there is none.
    """

    name: str
    client: str
    raw: bytes
    text: str
    data: dict[str, Any]
    provider: str | None
    model: str | None

    @property
    def provider_table(self) -> dict[str, Any]:
        """The provider's table; empty when there is none."""
        return dict(self.data["providers"][self.provider]) if self.provider is not None else {}

    @property
    def model_table(self) -> dict[str, Any]:
        """The model's table; empty when there is none."""
        return dict(self.data["models"][self.model]) if self.model is not None else {}

    @property
    def has_login(self) -> bool:
        """Whether an OAuth login would beat an API key, or forbid it."""
        if self.provider_table.get("oauth"):
            return True
        return self.client == "kimi-code" and bool(self.model_table.get("oauth"))

    @property
    def key_variable(self) -> str | None:
        """The variable that Kimi Code takes the key from (``api_key_env``), if it does."""
        name = self.provider_table.get("api_key_env")
        return name if self.client == "kimi-code" and isinstance(name, str) and name else None

    @property
    def secret(self) -> str | None:
        """The API key that the client would use from this file, if it is one."""
        if self.provider is None or self.has_login:
            return None
        if self.client == "kimi-code" and self.model_table.get("api_key"):
            return str(self.model_table["api_key"])
        value = self.provider_table.get("api_key")
        return value if isinstance(value, str) and value else None

    def secret_of(self, alias: str | None) -> str | None:
        """The API key that Kimi Code sends with another model than the default one.

        A model's own ``api_key`` or ``oauth`` beats its provider's (docs/reference/clients.md).

        Returns:
            None: the same as with the default model, or the alias is not there; "": no API key.
        """
        providers, models = self.data.get("providers"), self.data.get("models")
        model = models.get(alias) if isinstance(models, dict) else None
        if not isinstance(model, dict) or alias == self.model:
            return None
        name, own = model.get("provider"), model.get("api_key") or model.get("oauth")
        source = model if own else (providers or {}).get(name if isinstance(name, str) else None)
        if not isinstance(source, dict) or (name == self.provider and not own):
            return None
        secret = "" if source.get("oauth") else source.get("api_key")
        return secret if isinstance(secret, str) else ""

    def __repr__(self) -> str:
        """Without anything secret."""
        return f"Config(name={self.name!r}, client={self.client!r})"


def parse_config(raw: bytes, *, name: str, client: str) -> Config:
    """Read a config.

    Raises:
        ConfigError: it is too large, not UTF-8, not TOML, or contradicts itself.
    """
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"{name} is larger than {MAX_CONFIG_BYTES // 1024} KiB, the most that kmi edits",
            "move what does not belong into it elsewhere",
        )
    try:
        text = raw[len(_BOM) :].decode() if raw.startswith(_BOM) else raw.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8 text", "save it as UTF-8") from None
    data = _parsed_lightly(text)
    if data is None:
        data = _parsed(text, name)
    model, provider = _locate(data, name, client)
    return Config(name, client, raw, text, data, provider, model)


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The data of any file of a client's.

    Raises:
        ConfigError: it is not TOML.
    """
    data = _parsed_lightly(text.lstrip("\ufeff"))
    return _parsed(text.lstrip("\ufeff"), name) if data is None else data


def drop_items(text: str, array: str, indexes: Sequence[int], name: str) -> str:
    """A text without some items of an array at its top; the caller proves what became of it.

    Raises:
        ConfigError: it is not TOML.
    """
    from tomlkit import dumps, parse
    from tomlkit.exceptions import TOMLKitError

    bom = "\ufeff" if text.startswith("\ufeff") else ""
    try:
        document: Any = parse(text[len(bom) :])
        for index in sorted(indexes, reverse=True):
            del document[array][index]
        if not len(document[array]):
            del document[array]
        return bom + str(dumps(document))
    except (TOMLKitError, ValueError, TypeError, LookupError, RecursionError):
        raise ConfigError(f"{name} is not valid TOML", "correct it; nothing was changed") from None


def _parsed_lightly(text: str) -> dict[str, Any] | None:
    """The data by Python's own parser, which loads and works in a fraction of the time.

    It is `tomllib`, and before Python 3.11 `tomli`, of which that was made. None in any doubt: what
    they refuse a client may take, for kimi-cli reads with tomlkit; and CR LF they do not keep
    within strings. They prove an edit of tomlkit's all the better for being another parser.
    """
    if "\r" in text:
        return None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
    return data


def _parsed(text: str, name: str) -> dict[str, Any]:
    from tomlkit import parse
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        data: dict[str, Any] = parse(text).unwrap()
    except ParseError as error:
        raise ConfigError(
            f"{name}:{error.line}: not valid TOML", "correct that line; nothing was changed"
        ) from None
    except (TOMLKitError, ValueError, RecursionError):
        raise ConfigError(f"{name} is not valid TOML", "correct it; nothing was changed") from None
    return data


def _locate(data: dict[str, Any], name: str, client: str) -> tuple[str | None, str | None]:
    """The alias and the provider that the client would start with."""
    providers, models = _table(data, "providers", name), _table(data, "models", name)
    alias = _word(data, "default_model", name)
    provider = None
    if client == "kimi-code" and alias is None:
        provider = _word(data, "default_provider", name)
        provider = provider if provider in providers else None
        if provider is not None:
            alias = _word(providers[provider], "default_model", name)
    if alias is not None and alias in models:
        provider = _word(models[alias], "provider", name) or provider
    elif alias is not None:
        if client == "kimi-cli" or provider is None:
            raise ConfigError(
                f"{name}: default_model names {alias!r}, which is not in [models]",
                "add that model, or correct default_model",
            )
        alias = None
    if provider is None and alias is not None and len(providers) == 1:
        provider = next(iter(providers))
    if provider is not None and provider not in providers:
        raise ConfigError(
            f"{name}: model {alias!r} names the provider {provider!r}, which is not there",
            "add that provider, or correct the model",
        )
    return alias, provider


def _word(table: dict[str, Any], key: str, name: str) -> str | None:
    value = table.get(key) or None
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{name}: {key} is not a string", "put it in quotes")
    return value


def _table(data: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    table = data.get(key, {})
    if not isinstance(table, dict) or not all(isinstance(item, dict) for item in table.values()):
        raise ConfigError(
            f"{name}: {key!r} is not a set of tables", f"write [{key}.NAME]; nothing was changed"
        )
    return table


#: Path to new value; None removes the field.
Edits = dict[Path, Any]


def apply_edits(config: Config, edits: Edits) -> bytes:
    """Edit the text, and prove by a second parse that nothing else changed.

    Raises:
        ConfigError: the proof failed; the text of such a file is not edited by kmi.
    """
    from tomlkit import dumps, parse
    from tomlkit.exceptions import TOMLKitError

    if not edits:
        return config.raw
    try:
        document = parse(_without_tables(config, edits))
        for path, value in edits.items():
            _set(document, path, value)
        text = dumps(document)
        after = _parsed_lightly(text)
        if after is None:
            after = parse(text).unwrap()
    except (TOMLKitError, ValueError, TypeError, KeyError) as error:
        raise _cannot_edit(config, type(error).__name__) from None
    expected = copy.deepcopy(config.data)
    for path, value in edits.items():
        _set(expected, path, value)
    if not same_data(after, expected):
        raise _cannot_edit(config, "the edit would have changed other values")
    if _other_lines_changed(config, edits, text):
        raise _cannot_edit(config, "the edit would have changed other lines")
    bom = _BOM if config.raw.startswith(_BOM) else b""
    return bom + text.encode()


def _set(table: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        if part not in table:
            table[part] = {}
        table = table[part]
    if value is None:
        table.pop(path[-1], None)
    else:
        table[path[-1]] = value


def value_at(data: Any, path: Path) -> Any:
    """The value at a path; None when it is not there."""
    for part in path:
        if not isinstance(data, dict) or part not in data:
            return None
        data = data[part]
    return data


def same_data(one: Any, other: Any) -> bool:
    """Whether two TOML values are equal, with their types; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_data(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_data, one, other))
    return bool(one == other) or bool(one != one and other != other)


def _without_tables(config: Config, edits: Edits) -> str:
    """The text without the lines of tables that are to be removed whole; comments in them stay.

    tomlkit would take the comments with them, also those that belong to the next table.
    """
    lines = config.text.split("\n")
    for path, value in edits.items():
        if value is not None or not isinstance(value_at(config.data, path), dict):
            continue
        header = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(map(re.escape, path)) + r"\s*\]")
        inside = False
        kept = []
        for line in lines:
            if line.lstrip().startswith("["):
                inside = header.match(line) is not None
            if not inside or not line.strip() or line.lstrip().startswith("#"):
                kept.append(line)
        lines = kept
    return "\n".join(lines)


def _other_lines_changed(config: Config, edits: Edits, text: str) -> bool:
    """Whether more of the old lines are missing in the new text than edits account for."""
    old_values = {path: value_at(config.data, path) for path in edits}
    may_go = 0
    for path, value in edits.items():
        old = old_values[path]
        if isinstance(old, dict) and value is None:
            may_go += 1 + len(old)
        elif old is not None:
            may_go += 1
    old, new = config.text.split("\n"), text.split("\n")
    if len(old) == len(new) and sum(one != other for one, other in zip(old, new)) <= may_go:
        return False  # the usual case; else a line may have gone and another one come
    return not _holds(new, old, may_go)


def _holds(lines: list[str], wanted: list[str], most: int) -> bool:
    """Whether all wanted lines but so many are among the lines, in their order.

    Exact, and quick where most lines are alike; difflib takes seconds for 3000 empty ones.
    """
    from bisect import bisect_left

    places: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        places.setdefault(line, []).append(number)
    # By how many were left out so far: the fewest lines that hold the others.
    ends = {0: 0}
    for line in wanted:
        after: dict[int, int] = {}
        for left_out, end in ends.items():
            at = places.get(line, [])
            found = bisect_left(at, end)
            if found < len(at):
                after[left_out] = min(at[found] + 1, after.get(left_out, len(lines)))
            if left_out < most:
                after[left_out + 1] = min(end, after.get(left_out + 1, len(lines)))
        ends = after
    return bool(ends)


def _cannot_edit(config: Config, why: str) -> ConfigError:
    return ConfigError(
        f"{config.name} can't be edited safely ({why}); nothing was changed",
        "write api_key on a line of its own below [providers.NAME], and report this file's layout",
        code="unsafe-edit",
    )
