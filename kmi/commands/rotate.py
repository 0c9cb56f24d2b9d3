"""`kmi rotate`: swap the best key in now; with `auto` and `off`: round robin on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.commands.swapping import swap_now
from kmi.errors import EXIT_OK, RefusedError
from kmi.settings import CLIENTS

if TYPE_CHECKING:
    import argparse

    from kmi.app import App
    from kmi.proof import Proof


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "mode",
        nargs="?",
        choices=("auto", "off"),
        help="auto: every run takes the next usable key from now on; off: no longer",
    )
    parser.add_argument("--client", choices=CLIENTS, help="whose config is meant")
    parser.add_argument("--adopt", action="store_true", help="add a provider beside an OAuth login")
    parser.add_argument("--dry-run", action="store_true", help="show the change, write nothing")


def run(args: argparse.Namespace, app: App) -> int:
    """Swap the best key in; where several tie, the next of them."""
    app.use_dry_run(args.dry_run)
    if args.mode == "off":
        return _off(app)
    app.require_keys()
    if args.mode == "auto":
        return _auto(app, app.client(args.client))
    return swap_now(app, app.client(args.client), named=None, adopt=args.adopt)


def _auto(app: App, client: str) -> int:
    """Prove the rotation, then turn it on.

    Raises:
        RefusedError: the settings do not allow it.
    """
    from kmi.proof import Proof, prove, round_trip

    settings, screen, words = app.settings, app.screen, app.words
    if not settings.auto_rotate_allowed:
        origin = settings.origin("KMI_AUTO_ROTATE_ALLOWED")
        raise RefusedError(
            f"KMI_AUTO_ROTATE_ALLOWED=0 ({origin}) forbids automatic rotation",
            f"set KMI_AUTO_ROTATE_ALLOWED=1 in {settings.env_path} or in the environment",
            code="auto-not-allowed",
        )
    if app.dry_run:
        labels = [key.label for key in round_trip(app, app.store.read(), client)]
        screen.note(words("rotate.would-on", labels=", ".join(labels)))
        screen.planned(auto_rotate=True, labels=labels)
        return EXIT_OK
    proof = Proof()
    if settings.auto_rotate_e2e:
        screen.detail(words("rotate.proving"))
        proof = prove(app, client)
    with app.store.transaction() as transaction:
        state = transaction.state
        changed = state.auto_rotate is None
        if changed:
            state.auto_rotate = app.now()
        groups = {state.key(key.key_id).group for key in app.known(state)}
        transaction.save()
        app.audit(
            transaction,
            "changed" if changed else "unchanged",
            before={"auto_rotate": not changed},
            after={"auto_rotate": True},
            proved=proof.proved,
            failed=proof.failed,
        )
    _tell_auto(app, proof, changed=changed, one_account=len(groups) == 1 and None not in groups)
    return EXIT_OK


def _tell_auto(app: App, proof: Proof, *, changed: bool, one_account: bool) -> None:
    screen, words = app.screen, app.words
    for label, why in proof.failed.items():
        screen.warn(f"{label}: {words('rotate.failed')}: {words.sentence(why)}")
    if one_account:
        screen.warn(words("rotate.one-account"))
    if screen.json:
        proof_document = {"proved": proof.proved, "failed": proof.failed}
        screen.document({"auto_rotate": True, "changed": changed, **proof_document})
    elif not changed:
        screen.note(words("rotate.on-already"))
    else:
        labels = proof.proved or [key.label for key in app.keyring.keys]
        screen.note(words("rotate.on", labels=", ".join(labels)))


def _off(app: App) -> int:
    screen, words = app.screen, app.words
    if app.dry_run:
        screen.note(words("rotate.would-off"))
        screen.planned(auto_rotate=False)
        return EXIT_OK
    with app.store.transaction() as transaction:
        state = transaction.state
        changed = state.auto_rotate is not None
        state.auto_rotate = None
        transaction.save()
        app.audit(
            transaction,
            "changed" if changed else "unchanged",
            before={"auto_rotate": changed},
            after={"auto_rotate": False},
        )
    if screen.json:
        screen.document({"auto_rotate": False, "changed": changed})
    else:
        screen.note(words("rotate.off" if changed else "rotate.off-already"))
    return EXIT_OK
