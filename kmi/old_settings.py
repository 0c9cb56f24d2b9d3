"""Which settings of kmi-manager-cli go over, and why not the others (pure).

Most names mean the same. A value goes over where kmi takes it, and does not do so by default;
what would loosen a protection does not, whatever it was there: the person writes that line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.settings import AUTH_FILE_NAMES, TABLE
from kmi.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kmi.envfile import Binding
    from kmi.settings import Row, Settings

#: Names that no setting of kmi answers to.
GONE = {
    "KMI_SHOW_SOURCE": "migrate.why-gone",
    "KMI_EMAIL": "migrate.why-email",
    "EMAIL": "migrate.why-email",
    # There it repeats with the same key, and 0 is the default; here it counts attempts.
    "KMI_PROXY_RETRY_MAX": "migrate.why-attempts",
}
#: Where files are: the files themselves are taken over.
PLACES = {"KMI_AUTHS_DIR", "KMI_STATE_DIR", "KMI_ENV_PATH"}
BASE_URL = "KMI_UPSTREAM_BASE_URL"
#: Values that take a protection away.
LOOSE = {
    "KMI_PROXY_ALLOW_REMOTE": True,
    "KMI_PROXY_REQUIRE_TLS": False,
    "KMI_PROXY_TLS_TERMINATED": True,
    "KMI_ENFORCE_FILE_PERMS": False,
}
_ROWS = {row.name: row for row in TABLE}


class Left(NamedTuple):
    """A setting, or a file, that does not go over.

    Attributes:
        why: the name of a message, which `values` belong to; "" where ``what`` says it itself.
    """

    name: str
    why: str
    values: Mapping[str, str] = {}


class Sorted(NamedTuple):
    """What goes over, by name, as it is written into an env file; and what does not."""

    taken: dict[str, str]
    left: list[Left]


def sort_out(
    bindings: Iterable[Binding], settings: Settings, env: Mapping[str, str], *, has_keys: bool
) -> Sorted:
    """Sort the lines of an env file of kmi-manager-cli.

    Args:
        bindings: its lines; of a name that is there twice the last one counts, as there.
        settings: what kmi was given already.
        env: for ``~`` in values.
        has_keys: whether kmi has keys, which a new default base URL would send elsewhere.
    """
    taken: dict[str, str] = {}
    left: list[Left] = []
    given = {name: value or "" for name, value, _ in bindings if name}
    for name, text in given.items():
        row = _ROWS.get(name)
        if name in GONE:
            left.append(Left(name, GONE[name]))
        elif name in PLACES:
            left.append(Left(name, "migrate.why-place"))
        elif name in AUTH_FILE_NAMES:
            left.append(Left(name, "migrate.why-auth-file"))
        elif row is None:
            # What is not named so is another program's.
            if name.startswith("KMI_"):
                left.append(Left(name, "migrate.why-unknown"))
        else:
            _sort_one(row, text, settings, env, taken, left)
    if has_keys and BASE_URL in taken:
        left.append(Left(BASE_URL, "migrate.why-elsewhere", {"url": taken.pop(BASE_URL)}))
    return Sorted(taken, left)


def _sort_one(
    row: Row,
    text: str,
    settings: Settings,
    env: Mapping[str, str],
    taken: dict[str, str],
    left: list[Left],
) -> None:
    name = row.name
    text = _in_todays_words(name, text)
    try:
        value: Any = row.parse(text, env)
    except ValueError as error:
        why = "migrate.why-token" if row.secret else "migrate.why-invalid"
        left.append(Left(name, why, {} if row.secret else {"allowed": str(error)}))
        return
    if value == getattr(settings, row.attribute):
        return  # here it is so already
    if name in settings.origins:
        left.append(Left(name, "migrate.why-set", {"origin": settings.origin(name)}))
    elif LOOSE.get(name) == value or (name == "KMI_PROXY_LISTEN" and not is_loopback(value[0])):
        left.append(Left(name, "migrate.why-safety", {"line": f"{name}={text}"}))
    else:
        taken[name] = text


def _in_todays_words(name: str, text: str) -> str:
    """A value as kmi writes it, where kmi-manager-cli takes more than one spelling."""
    if name == "KMI_LOCALE":
        return "ru" if text.lower().startswith("ru") else "en"
    if name == "KMI_USAGE_CACHE_SECONDS" and text.startswith("-") and text[1:].isdigit():
        return "0"  # there everything up to 0 is off
    return text
