"""Secrets that are known, in any of the forms in which they could stand in a text (pure).

What merely looks like a key is `kmi.masking`. Here the secret itself is known: a key that was read,
the proxy's token, what a client's variable holds, or what a request was sent with. A text may have
it whole or in part, as it is, escaped for a URL or for JSON, in base64 at any offset, or in hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmi.masking import mask_data, mask_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: Fewer characters in a row say nothing about a secret: at most four are ever shown on purpose.
PIECE = 8
#: A shorter secret is looked for as a whole only, for its parts may be words.
SHORT = 16
#: For more secrets than this, only their plain form is looked for: the index would grow too large.
MANY = 200
#: What keys begin with, and what it is in the other forms: no secret.
_PUBLIC = ("sk-kimi-", "sk-")
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
#: Where a word ends, of which a part is a secret.
_ENDS = frozenset(" \t\r\n\"'<>,;(){}[]|")
#: Variables of clients that hold secrets.
_FAMILIES = ("KIMI_", "MOONSHOT_")
_HOLDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


#: What a URL holds as it is (RFC 3986 2.3). `urllib` would cost the proxy a third of a megabyte.
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def secrets_of(env: Mapping[str, str]) -> list[str]:
    """What an environment holds of secrets: the proxy's token, and those of clients."""
    found = [env.get("KMI_PROXY_TOKEN", ""), env.get("KMI_API_KEY", "")]
    for name, value in env.items():
        if name.startswith(_FAMILIES) and any(part in name for part in _HOLDS):
            found.append(value)
    return found


def forms(secret: str) -> list[str]:
    """The spellings of a secret, the plain one first."""
    from base64 import b64encode

    data = secret.encode("utf-8", "replace")
    escaped = "".join(chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in data)
    found = [secret, escaped, data.hex()]
    for skipped in range(3):
        # The characters that hold nothing but bits of the secret, whatever stands around it.
        whole = b64encode(data[skipped:]).decode().rstrip("=")
        whole = whole[: len(data[skipped:]) * 8 // 6]
        found += [whole, whole.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(found))


def pieces(secret: str, step: int = 1) -> set[str]:
    """Parts of a secret in every form, in lower case, `PIECE` long; one starts every ``step``."""
    return {part for form in forms(secret) for part in _parts(form, step)}


def _parts(form: str, step: int) -> set[str]:
    start = next((len(word) for word in _PUBLIC if form.startswith(word)), 0)
    text = form[start:].translate(_LOWER)
    if len(text) < PIECE:
        return set()
    last = len(text) - PIECE
    return {text[at : at + PIECE] for at in (*range(0, last, step), last)}


def without(text: str, secret: str) -> str:
    """A text of which every part that is also one of the secret, in any form, is "…".

    >>> without("Bearer sk-kimi-0123456789 abcdefghij!", "sk-kimi-0123456789abcdefghij")
    'Bearer sk-kimi-… …!'
    """
    if len(secret) < PIECE:
        return text
    known = pieces(secret)
    low = text.translate(_LOWER)
    found: list[str] = []
    done = at = 0
    while at <= len(low) - PIECE:
        if low[at : at + PIECE] not in known:
            at += 1
            continue
        found += [text[done:at], "…"]
        done = at + PIECE
        while low[done - PIECE + 1 : done + 1] in known:
            done += 1
        at = done
    return "".join([*found, text[done:]])


def _places(text: str, part: str) -> Iterator[int]:
    """Where a part stands in a text."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


class Redactor:
    """Takes secrets out of what is told, wherever it comes from.

    Attributes:
        learn: gives secrets that are known from the start; called when something is told first.
    """

    def __init__(self, learn: Callable[[], Iterable[str]] = list) -> None:
        self._learn: Callable[[], Iterable[str]] | None = learn
        self._secrets: dict[str, None] = {}
        self._index: set[str] | None = None
        self._whole: list[str] = []

    def hide(self, secrets: Iterable[str | None]) -> None:
        """Never tell these."""
        for secret in secrets:
            if secret and len(secret) >= PIECE and secret not in self._secrets:
                self._secrets[secret] = None
                self._index = None

    def sentence(self, text: str) -> str:
        """A sentence for people; it may quote what was typed by mistake."""
        return mask_keys(self._hidden(text))

    def data(self, text: str) -> str:
        """What was asked for: labels and paths are to stay as they are, as far as it goes."""
        return mask_data(self._hidden(text))

    def _hidden(self, text: str) -> str:
        """A text without the words that hold a part of a secret."""
        if len(text) < PIECE:
            return text
        known = self._known()
        if not known and not self._whole:
            return text
        low = text.translate(_LOWER)
        last = len(low) - PIECE if known else -1
        hits = [(at, PIECE) for at in range(last + 1) if low[at : at + PIECE] in known]
        for whole in self._whole:
            hits += [(at, len(whole)) for at in _places(low, whole)]
        found: list[str] = []
        done = 0
        for at, size in sorted(hits):
            if at + size <= done:
                continue
            start, end = at, at + size
            while start > done and text[start - 1] not in _ENDS:
                start -= 1
            while end < len(text) and text[end] not in _ENDS:
                end += 1
            if at >= done:  # else the "…" before it stands for this one too
                found += [text[done:start], "…"]
            done = end
        return "".join([*found, text[done:]])

    def _known(self) -> set[str]:
        if self._learn is not None:
            learn, self._learn = self._learn, None
            self.hide(learn())
        if self._index is None:
            every = len(self._secrets) <= MANY
            self._index = set()
            self._whole = [s.translate(_LOWER) for s in self._secrets if len(s) < SHORT]
            for secret in self._secrets:
                if len(secret) < SHORT:
                    continue
                if every:
                    self._index |= pieces(secret, PIECE)
                else:
                    self._index |= _parts(secret, PIECE)
        return self._index
