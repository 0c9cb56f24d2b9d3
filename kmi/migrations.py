"""Older forms of ``state.json`` made into today's (pure): numbered steps, forward only.

Schema 0 is what kmi-manager-cli kept in the same place (its ``schema_version`` 1). It names keys
by label, and remembers a refused key for ever; here a 401 of the past holds nothing, and what is
known of a label that no auth file has is kept aside. See docs/reference/compatibility.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmi.model import Hold, KeyState
from kmi.state import SCHEMA, State, encode
from kmi.timezones import utc_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Where labels are kept that no auth file has any more.
ASIDE = "from_kmi_manager_cli"
#: Words of `blocked_reason` for which a payment is due; the others are taken for a rate limit.
_PAYMENT = ("payment", "billing", "balance", "quota", "402", "membership")


def schema_of(table: Any) -> int | None:
    """The schema of a state file; None when it is none."""
    if not isinstance(table, dict):
        return None
    if "schema" not in table and isinstance(table.get("schema_version"), int):
        return 0
    schema = table.get("schema")
    # No kmi writes a number below 1: such a file is damaged, not older.
    known = isinstance(schema, int) and not isinstance(schema, bool) and schema >= 1
    return schema if known else None


def upgrade(table: dict[str, Any], ids: Mapping[str, str], now: float) -> dict[str, Any]:
    """A state file of any older schema in today's form.

    Args:
        table: the parsed file, of a schema below `SCHEMA`.
        ids: the key id of each label that an auth file has.
        now: seconds since the epoch.

    Raises:
        ValueError: it is not what its schema promises.
    """
    schema = schema_of(table)
    while schema is not None and schema < SCHEMA:
        table = STEPS[schema](table, ids, now)
        schema += 1
    return table


def _from_manager(table: dict[str, Any], ids: Mapping[str, str], now: float) -> dict[str, Any]:
    """Schema 0 to 1."""
    keys = table.get("keys", {})
    if not isinstance(keys, dict):
        raise ValueError("its keys are not an object")
    state = State()
    aside = {}
    for label, old in keys.items():
        if not isinstance(old, dict):
            raise ValueError("a key is not an object")
        if label in ids:
            state.keys[ids[label]] = _key_of_manager(label, old, now)
        else:
            aside[label] = old
    if table.get("auto_rotate") is True:
        state.auto_rotate = now
    if aside:
        state.unknown[ASIDE] = aside
    return encode(state)


def _key_of_manager(label: str, old: Mapping[str, Any], now: float) -> KeyState:
    hold = None
    exhausted, blocked = _moment(old.get("exhausted_until")), _moment(old.get("blocked_until"))
    reason = str(old.get("blocked_reason") or "")
    if (blocked is not None and blocked > now) or (blocked is None and reason):
        payment = any(word in reason.lower() for word in _PAYMENT)
        verdict = "payment" if payment else "unknown-403"
        # A reason without a time blocked until cleared by hand; a recheck may end it here.
        until = blocked if blocked is not None else now + 3600.0
        hold = Hold("blocked", verdict, now, until, now, "setting", text=reason[:200])
    elif exhausted is not None and exhausted > now:
        until = min(exhausted, now + 31 * 86400.0)
        hold = Hold("exhausted", "quota", now, until, min(until, now + 300.0), "setting")
    return KeyState(label=label, hold=hold, last_used=_moment(old.get("last_used")))


def take_over(
    state: State, old: Mapping[str, Any], ids: Mapping[str, str], now: float
) -> list[str]:
    """Put what kmi-manager-cli knew of labels into a state of today, where that knows nothing yet.

    Args:
        state: it is changed.
        old: the ``keys`` of such a state, by label.
        ids: the key id of each label that an auth file has.
        now: seconds since the epoch.

    Returns:
        the labels of which something was taken over.
    """
    taken = []
    for label, known in old.items():
        key_id = ids.get(label)
        if key_id is None or key_id in state.keys or not isinstance(known, dict):
            continue
        made = _key_of_manager(label, known, now)
        if made.hold is not None or made.last_used is not None:
            state.keys[key_id] = made
            taken.append(label)
    return taken


def restore_aside(state: State, ids: Mapping[str, str], now: float) -> list[str]:
    """Take over what was kept aside of labels that have an auth file by now; those labels."""
    aside = state.unknown.get(ASIDE)
    if not isinstance(aside, dict):
        return []
    found = {label: known for label, known in aside.items() if label in ids}
    if not found:
        return []
    take_over(state, found, ids, now)
    rest = {label: known for label, known in aside.items() if label not in ids}
    if rest:
        state.unknown[ASIDE] = rest
    else:
        del state.unknown[ASIDE]
    return list(found)


def _moment(value: object) -> float | None:
    """A time like ``2026-02-04T07:00:00Z``; None for none, and for what can't be read."""
    if not isinstance(value, str):
        return None
    text = value if value.endswith("Z") else f"{value}Z"
    try:
        return utc_seconds(text.replace("+00:00Z", "Z"))
    except ValueError:
        return None


#: From each older schema to the next one.
STEPS: Mapping[int, Callable[[dict[str, Any], Mapping[str, str], float], dict[str, Any]]] = {
    0: _from_manager,
}
