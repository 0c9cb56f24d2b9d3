"""`kmi run --retry`: a one-shot run that failed by its key, once more on another one.

Only while nothing of an answer was printed: what a script has read can't be taken back. So kmi
can't become the client; that is a child, its output goes through kmi, and its exit code is kmi's.
What stands before an answer (the version, the echo of the prompt) is held back until it is clear
what follows it. The second attempt is an ordinary run: kmi becomes that client.
"""

from __future__ import annotations

import os
import re
import select
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.client_args import CLI, CODE
from kmi.errors import KmiError, UsageError
from kmi.holds import holds
from kmi.verdicts import classify_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from kmi.clients import Program
    from kmi.model import ApiKey
    from kmi.running import Run, RunArgs

#: How much of an answer is held back before it counts as one.
HELD_MAX = 64 * 1024
#: How much of the end of stderr is looked at.
TAIL_MAX = 16 * 1024
#: A client that ended may have left its pipe to others; what is in it by then is all.
_DRAIN_S = 0.5
_LOOK_S = 0.1

_PROMPT = {CODE: {"-p", "--prompt"}, CLI: {"-p", "--prompt", "-c", "--command"}}
_PRINTS = {"--print", "--quiet"}
#: What kimi-cli 1.51.0 prints of a turn before and beside an answer (``--print``).
_BESIDE = {"TurnBegin", "TurnEnd", "StepBegin", "StepInterrupted", "StepRetry"}
_EVENT = re.compile(rb"(?m)^([A-Z][A-Za-z]+)\(")
#: What Kimi Code 2.1.0 prints first with ``--output-format stream-json``, and of its own retries.
_META = re.compile(rb'\A(?:\s*\{"role":"meta"[^\n]*(?:\n|\Z))*\s*\Z')


class Attempt(NamedTuple):
    """A client that ended.

    Attributes:
        code: its exit code; negative when a signal ended it.
        held: what it printed, and nobody has seen yet; None when it was passed on.
        failure: its error text.
    """

    code: int
    held: bytes | None
    failure: str


def check_args(args: RunArgs, program: Program, arguments: Sequence[str]) -> None:
    """Refuse what can't be tried again.

    Raises:
        UsageError: a key is named, the proxy tries again by itself, or it is no one-shot run.
    """
    if os.name == "nt":
        raise UsageError("--retry does not work on Windows", "run it again by hand")
    if args.key is not None:
        raise UsageError("--retry takes another key, and -k names one", "leave one of them out")
    if args.proxy:
        raise UsageError(
            "--retry does not go with --proxy, which tries again by itself", "leave one of them out"
        )
    if program.client is None or not one_shot(program.client, arguments):
        raise UsageError(
            "--retry is for one-shot runs of a client",
            "for instance: kmi run --retry -- kimi -p 'PROMPT' (kimi-cli: with --print)",
        )


def one_shot(client: str, arguments: Sequence[str]) -> bool:
    """Whether a client answers one prompt of its command line, and ends (pure)."""
    words = {argument.partition("=")[0] for argument in arguments}
    return bool(words & _PROMPT[client]) and (client == CODE or bool(words & _PRINTS))


def try_twice(run: Run, argv: Sequence[str], env: Mapping[str, str], key: ApiKey) -> int:
    """Run the client; if its key failed before it answered, run it once more on another key.

    Args:
        run: the first run, chosen and recorded.
        argv: the client's name and arguments.
        env: its environment.
        key: the key that it has.

    Returns:
        the client's exit code.
    """
    app = run.app
    client = str(run.program.client)
    attempt = watch(run.program.path, argv, env, client)
    verdict = classify_text(attempt.failure, extra=app.patterns())
    if attempt.code <= 0 or attempt.held is None or not holds(verdict):
        return _end(attempt)
    try:
        _learn(run, key, attempt.failure)
        # Nothing that the first one printed is shown, unless it is the last word.
        app.screen.note(app.words("plugin.again", label=repr(key.label), verdict=verdict.name))
        return run.again().start()
    except (KmiError, OSError) as error:
        # What is private to a run is made with plain system calls: a disk may be full, too.
        message = error.message if isinstance(error, KmiError) else error.strerror or str(error)
        app.screen.warn(app.words("plugin.not-again", why=app.words.sentence(message)))
        # Whatever the disk says to the record: the first attempt's output is due.
        with suppress(KmiError, OSError), app.store.transaction() as transaction:
            app.audit(transaction, "changed" if app.learnt else "unchanged", run=run.run_id)
        return _end(attempt)


def _learn(run: Run, key: ApiKey, failure: str) -> None:
    """Remember what was said of the key; the record of the second attempt tells of it."""
    from kmi.health import status_of
    from kmi.hooks.failures import mark

    app = run.app
    with app.store.transaction() as transaction:
        state, now = transaction.state, app.now()
        before = status_of(key, state.key(key.key_id), now).name
        mark(app, state, key, classify_text(failure, extra=app.patterns()))
        after = status_of(key, state.key(key.key_id), now).name
        transaction.save()
    app.learnt[key.label] = [before, after]


def _end(attempt: Attempt) -> int:
    """Show what was held back, and end as the client did."""
    if attempt.held:
        _pass_on(1, attempt.held)
    if attempt.code < 0:
        with suppress(OSError):  # some can't be caught, and so have no handler
            signal.signal(-attempt.code, signal.SIG_DFL)
        os.kill(os.getpid(), -attempt.code)
    return attempt.code if attempt.code >= 0 else 128 - attempt.code


def watch(path: str, argv: Sequence[str], env: Mapping[str, str], client: str) -> Attempt:
    """Run a client to its end, with its output passed on as soon as it is an answer.

    It stays in kmi's process group, so the terminal's keys reach both; other signals are relayed.

    Raises:
        NotExecutableError: the system can't execute it.
    """
    from kmi.errors import NotExecutableError

    try:
        child = subprocess.Popen(
            list(argv),
            executable=path,
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    except OSError as error:
        raise NotExecutableError(
            f"can't execute {path}: {error.strerror}", "check the file and its first line"
        ) from None
    before = _relay_signals(child)
    try:
        held, tail = _relay_output(child, client)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    failure = failure_text(client, held or b"", tail)
    return Attempt(code, held, failure)


def _relay_signals(child: subprocess.Popen[bytes]) -> dict[int, Any]:
    """Hand signals on to the client; those of the terminal it has got already."""

    def relay(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and _in_foreground():
            return
        with suppress(OSError):
            child.send_signal(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {number: signal.signal(number, relay) for number in numbers}


def _in_foreground() -> bool:
    """Whether the terminal's Ctrl-C reaches this process group by itself."""
    if not hasattr(os, "tcgetpgrp"):
        return True
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(fd)


def _relay_output(child: subprocess.Popen[bytes], client: str) -> tuple[bytes | None, bytes]:
    """Pass the output on; returns what was held back (None: nothing is), and the end of stderr."""
    assert child.stdout is not None  # noqa: S101 - both are pipes
    assert child.stderr is not None  # noqa: S101 - both are pipes
    held: bytes | None = b""
    tail = b""
    ended = None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        selector.register(child.stderr, selectors.EVENT_READ)
        while selector.get_map():
            for found, _ in selector.select(_LOOK_S):
                data = os.read(found.fd, 1 << 16)
                if not data:
                    selector.unregister(found.fileobj)
                elif found.fileobj is child.stderr:
                    tail = (tail + data)[-TAIL_MAX:]
                    _pass_on(2, data)
                elif held is None:
                    if not _pass_on(1, data):
                        selector.unregister(child.stdout)
                        child.stdout.close()  # so that the client learns it, too
                else:
                    held += data
                    if answers(client, held):
                        _pass_on(1, held)
                        held = None
            if ended is None and child.poll() is not None:
                ended = time.monotonic()
            if ended is not None and time.monotonic() - ended > _DRAIN_S:
                break
    return held, tail


def _pass_on(fd: int, data: bytes) -> bool:
    """Write it all; False when it can't be: nobody reads it any more, or a disk is full."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # Whoever shares it made it so, and may need it so: it is only waited for.
            select.select([], [fd], [])
        except OSError:
            return False
    return True


def answers(client: str, printed: bytes) -> bool:
    r"""Whether what was printed so far holds a part of an answer (pure).

    >>> answers("kimi-cli", b"hi\nTurnBegin(user_input='hi')\nStepBegin(n=1)\n")
    False
    >>> answers("kimi-cli", b"hi\nTurnBegin(user_input='hi')\nTextPart(type='text')\n")
    True
    """
    if len(printed) > HELD_MAX:
        return True
    if client == CODE:
        return _META.match(printed) is None
    # Without events it is the final message alone, or an error: both come with the end.
    names = {name.decode() for name in _EVENT.findall(printed)}
    return bool(names - _BESIDE) or printed.lstrip()[:1] == b"{"


def failure_text(client: str, printed: bytes, tail: bytes) -> str:
    """The error text of a client that ended (pure).

    kimi-cli writes it to stdout, and breaks it at the width of its page.

    >>> failure_text("kimi-code", b"", b"error: failed to run prompt: provider.auth_error: 403 No")
    'provider.auth_error: 403 No'
    """
    if client == CODE:
        lines = tail.decode("utf-8", "replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return errors[-1].partition("failed to run prompt: ")[2] if errors else ""
    text = printed.decode("utf-8", "replace")
    start = max(text.rfind("Error code:"), text.rfind("Connection error."))
    if start < 0:
        return ""
    lines = text[start:].splitlines()
    width = max(map(len, lines))
    return "".join(line if len(line) == width else f"{line}\n" for line in lines).strip()
