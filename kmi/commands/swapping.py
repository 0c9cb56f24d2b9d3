"""What `use` and `rotate` share: choose under the lock, swap, record, and say what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.background import claim, start
from kmi.dry_run import show_change
from kmi.errors import EXIT_OK, ConfigError
from kmi.picking import decide, pick_and_commit
from kmi.shell_files import prefer
from kmi.swap import Swapped, swap

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.model import ApiKey, Decision
    from kmi.state import State
    from kmi.store import Transaction


def swap_now(app: App, client: str, *, named: str | None, adopt: bool) -> int:
    """Swap a key into a client's config.

    Raises:
        ConfigError: nothing may be written, or the config can't take a key.
        TryLaterError: every key is out.
    """
    if not app.settings.write_config:
        raise ConfigError(
            "KMI_WRITE_CONFIG=0 forbids to write the client's config",
            f"unset it ({app.settings.origin('KMI_WRITE_CONFIG')}), or use `kmi run`, which pins",
        )

    claimed: list[bool] = []

    def pick(state: State, unavailable: dict[str, str]) -> Decision:
        return decide(
            app, state, client, named=named, unavailable=unavailable, rotate=named is None
        )

    def commit(transaction: Transaction, decision: Decision, key: ApiKey) -> Swapped:
        swapped = swap(app, transaction, client, key, adopt=adopt)
        prefer(transaction.state, client, app.now())
        claimed.append(claim(app, transaction.state))
        transaction.save()
        app.audit(
            transaction,
            "changed" if swapped.changed else "unchanged",
            client=client,
            before=swapped.before,
            after=key.label,
            key=key.key_id,
            reason=decision.code,
        )
        return swapped

    if app.binding is not None:
        # The config is shared by every project; a bound run does not take its key from there.
        labels = app.words.sentence(str(app.binding))
        app.screen.note(app.words("swap.bound", path=app.binding.path, binding=labels))
    if app.dry_run:
        return _show(app, client, pick(app.store.read(), {}), adopt=adopt)
    if named is None and app.settings.require_usage:
        from kmi.refresh import ensure_usage

        ensure_usage(app, None)
    swapped, decision, key = pick_and_commit(app, pick, commit, named=named)
    _tell(app, client, decision, key, swapped.before, changed=swapped.changed)
    if any(claimed):
        start(app.env)
    return EXIT_OK


def _tell(
    app: App, client: str, decision: Decision, key: ApiKey, before: str | None, *, changed: bool
) -> None:
    screen, words = app.screen, app.words
    label, why = repr(key.label), words.sentence(decision.reason)
    if decision.code == "named-anyway":
        screen.warn(words("swap.named-anyway", label=label, why=why))
    if screen.json:
        screen.document(
            {
                "client": client,
                "label": key.label,
                "key_id": key.key_id,
                "before": before,
                "changed": changed,
                "code": decision.code,
                "reason": decision.reason,
            }
        )
    else:
        name = "swap.now" if changed else "swap.already"
        screen.note(words(name, client=client, label=label, why=why))


def _show(app: App, client: str, decision: Decision, *, adopt: bool) -> int:
    show_change(app, client, decision, adopt=adopt)
    return EXIT_OK
