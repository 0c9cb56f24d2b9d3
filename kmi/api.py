"""Questions to the upstream about keys: `/usages`, the balance, and, when asked for, one chat.

``User-Agent`` is kmi's own: kmi does not pose as a client. So the coding plan may refuse the chat
question ("only available for Coding Agents", verdict "client-identity"), which then proves nothing
about the quota. How the questions travel, and by which proxy, is in `upstream`.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kmi import __version__
from kmi.error_texts import evidence
from kmi.quotas import parse_balance, parse_usages
from kmi.upstream import Clients, obstacle, send
from kmi.verdict_table import NETWORK
from kmi.verdicts import Verdict, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kmi.model import ApiKey
    from kmi.quotas import Balance, UsageReading
    from kmi.upstream import Reply
    from kmi.verdict_table import Rule

#: As long as Kimi Code waits for `/usages` (upstream.md).
TIMEOUT_S = 8.0
#: How much longer than its own timeouts a thread may take (a resolver that hangs, above all).
GRACE_S = 1.0

_USAGES = "/usages"
_BALANCE = "/users/me/balance"


@dataclass(frozen=True)
class Answer:
    """What the upstream said about one key.

    Attributes:
        status: of the last answer to the quota question; None when there was none.
        reading: the quota windows of a plan key.
        balance: the money of a platform key.
        verdict: what a refusal or a failure means; for `transitions.apply_usage_failure`.
        error: one line for people, "" when the question was answered.
        retry_after_s: the wait that the headers of the refused quota question ask for.
        chat_status: of the chat question; None when it was not asked or not answered.
        chat_verdict: what its refusal means; for `transitions.apply_verdict`.
        chat_error: one line for people, "" when there was no chat or it was answered.
        chat_retry_after_s: the wait that the headers of the refused chat ask for.
    """

    status: int | None = None
    reading: UsageReading | None = None
    balance: Balance | None = None
    verdict: Verdict | None = None
    error: str = ""
    retry_after_s: float | None = None
    chat_status: int | None = None
    chat_verdict: Verdict | None = None
    chat_error: str = ""
    chat_retry_after_s: float | None = None

    @property
    def chatted(self) -> bool:
        """Whether the chat was answered: the proof of a quota."""
        return self.chat_status is not None and not self.chat_error


def check_keys(
    keys: Sequence[ApiKey],
    *,
    timeout_s: float = TIMEOUT_S,
    chat: bool = False,
    model: str = "kimi-for-coding",
    user_agent: str = f"kmi/{__version__}",
    env: Mapping[str, str] | None = None,
    cafile: str | None = None,
    extra: Sequence[Rule] = (),
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Answer]:
    """Ask about all keys at once.

    Args:
        keys: their secrets are known, or their answer says that it is not.
        timeout_s: for the quota question of one key, a second attempt at the other endpoint
            included; a chat has as much again. This function returns after that, whatever hangs.
        chat: also ask for one token of an answer. That uses quota, and it alone proves one.
        model: the model of that question.
        user_agent: kmi's own name.
        env: where ``HTTPS_PROXY`` is looked up; nowhere if None.
        cafile: certificates to trust instead of certifi's.
        extra: the user's classification rules.
        on_progress: called with the key id, the number of keys done, and of all.

    Returns:
        An answer for every key, by key id.
    """
    answers: queue.Queue[tuple[str, Answer | Exception]] = queue.Queue()
    wanted = {key.key_id: key for key in keys}
    environment = {} if env is None else env
    deadline = time.monotonic() + timeout_s * (2 if chat else 1) + GRACE_S
    clients = Clients(wanted.values(), user_agent, environment, cafile)

    def work(key: ApiKey) -> None:
        try:
            asker = _Asker(key, clients, timeout_s, extra)
            answers.put((key.key_id, asker.answer(model if chat else None)))
        except Exception as error:  # noqa: BLE001 - a bug, raised again in the caller's thread
            answers.put((key.key_id, error))

    for key in wanted.values():
        # Daemons: a resolver that hangs must not keep the process from ending.
        threading.Thread(target=work, args=(key,), daemon=True).start()
    done: dict[str, Answer] = {}
    while len(done) < len(wanted):
        try:
            key_id, answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(answer, Exception):
            raise answer
        done[key_id] = answer
        if on_progress is not None:
            on_progress(key_id, len(done), len(wanted))
    if len(done) == len(wanted):
        clients.close()
    late = _lost(f"no answer within {timeout_s:g} s")
    return {key_id: done.get(key_id, late) for key_id in wanted}


def _lost(words: str) -> Answer:
    return Answer(error=words, verdict=Verdict(NETWORK, None, words, row=23))


class _Asker:
    """Asks about one key, in a thread of its own."""

    def __init__(
        self, key: ApiKey, clients: Clients, timeout_s: float, extra: Sequence[Rule]
    ) -> None:
        self._key = key
        self._clients = clients
        self._timeout_s = timeout_s
        self._extra = extra
        self._where = key.base_url.netloc
        self._secret = key.secret or ""

    def answer(self, chat_model: str | None) -> Answer:
        """Everything that is to be asked."""
        started = time.monotonic()
        words = obstacle(self._clients, self._key)
        if words:
            return Answer(error=words)
        answer = self._quota(started + self._timeout_s)
        if chat_model is not None and answer.status not in {None, 401}:
            answer = self._chat(answer, chat_model, time.monotonic() + self._timeout_s)
        return answer

    def _quota(self, deadline: float) -> Answer:
        """One endpoint by the host; the other one when that does not exist there."""
        paths = [_USAGES, _BALANCE]
        if self._key.base_url.host.startswith("api.moonshot."):
            paths.reverse()
        for path in paths:
            reply = self._ask("GET", path, deadline)
            if reply.status != 404:
                return self._read(path, reply)
        words = f"404 from {self._where}: it has neither {_USAGES} nor {_BALANCE}"
        return Answer(404, error=f"{words}; check the base URL")

    def _read(self, path: str, reply: Reply) -> Answer:
        if reply.status is None or reply.failure or not 200 <= reply.status < 300:
            return self._refused(reply)
        try:
            if path == _BALANCE:
                balance = parse_balance(reply.body, self._key.base_url.host)
                return Answer(reply.status, balance=balance)
            reading = parse_usages(reply.body, time.time())
            drift = evidence(reading.drift, self._secret)
            return Answer(reply.status, reading=replace(reading, drift=drift))
        except ValueError as error:
            verdict = self._verdict(reply)
            words = f"{path} of {self._where}: {error}"
            failed = verdict if verdict.fault != "none" else None
            return Answer(reply.status, error=words, verdict=failed)

    def _refused(self, reply: Reply) -> Answer:
        if reply.status is None:
            return _lost(reply.failure)
        verdict = self._verdict(reply)
        words = reply.failure or verdict.text or "no text"
        if 300 <= reply.status < 400:
            words = "a redirect, which kmi never follows; check the base URL"
        if reply.status == 401:
            words += "; the key may belong to another host"
        error = f"{reply.status} from {self._where}: {words}"
        failed = verdict if verdict.fault != "none" else None
        return Answer(reply.status, verdict=failed, error=error, retry_after_s=reply.wait_s)

    def _verdict(self, reply: Reply) -> Verdict:
        return classify(reply.status, reply.body, extra=self._extra, secret=self._secret)

    def _chat(self, answer: Answer, model: str, deadline: float) -> Answer:
        """The smallest question there is: one token, not streamed."""
        question = {
            "model": model,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 1,
            "stream": False,
        }
        reply = self._ask("POST", "/chat/completions", deadline, question)
        if reply.status is not None and 200 <= reply.status < 300 and not reply.failure:
            verdict = self._verdict(reply)
            if verdict.fault == "none":
                return replace(answer, chat_status=reply.status)
        refused = self._refused(reply)
        return replace(
            answer,
            chat_status=refused.status,
            chat_verdict=refused.verdict,
            chat_error=refused.error,
            chat_retry_after_s=refused.retry_after_s,
        )

    def _ask(self, method: str, path: str, deadline: float, document: object = None) -> Reply:
        return send(self._clients, self._key, method, path, document=document, deadline=deadline)


__all__ = ["Answer", "check_keys"]
