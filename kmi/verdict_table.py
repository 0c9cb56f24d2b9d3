"""The classification table: what an upstream answer can mean, and how it is recognised. Pure data.

It follows upstream.md row by row, and the first rule that matches wins. A rule matches when its
statuses hold the answer's, and one of its needles is in the message, or one of its types in the
error's ``type`` or ``code``; a rule without both takes any text. Texts are compared as
`error_texts.fold` makes them: lower case, no apostrophes.

Where the order differs from upstream.md, a narrow text must win over a loose one: a ban (row 4)
is looked for after the quotas, since it holds for ever, and "recharge" (row 11) after the rate
limits, whose texts may advise to recharge. And a 401 in unknown words is not a dead key.

Nothing here was checked against the live service, and wordings changed often (upstream.md). So
users can add patterns, which are tried first: `verdicts.parse_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_HOUR_S = 3600.0
_DAY_S = 86400.0
# The first guess where a spent quota names no reset: half an hour, the top of the ladder of
# the other verdicts (`holds.LADDER_MAX_S`). It doubles, up to the window.
_QUOTA_STEP_S = 1800.0


@dataclass(frozen=True)
class Kind:
    """What an answer can mean.

    Attributes:
        name: the verdict.
        fault: whose: "request", "login", "key", "host", "account", "client", "organisation",
            "server", "network"; "none" when nothing is wrong.
        effect: "pass" (hand it on), "block", "exhaust", "cooldown", "retry" (same key, soon).
        scope: what it holds for: "none", "key", "group", "endpoint", "model".
        hold: how long, where neither header nor text says: "none", "hand" (until a person acts),
            "payment" (`KMI_PAYMENT_BLOCK_SECONDS`), "window" (its reset, else a ladder from
            ``seconds``), "cooldown" (`KMI_ROTATION_COOLDOWN_SECONDS`), "seconds" (the ladder).
        seconds: the first step of the ladder.
        cap_s: the longest hold, whatever a header says.
        window: the quota window that it claims ("5h", "1d", "7d", "month"), or None.
        ask_usage: the text is ambiguous, and one `/usages` answer would decide.
    """

    name: str
    fault: str
    effect: str = "pass"
    scope: str = "none"
    hold: str = "none"
    seconds: float = 0.0
    cap_s: float = 0.0
    window: str | None = None
    ask_usage: bool = False


@dataclass(frozen=True)
class Rule:
    """How a kind is recognised.

    Attributes:
        row: the row of upstream.md; 0 for what that table leaves open, and for users' patterns.
        kind: what it means.
        statuses: HTTP statuses; empty: every error status.
        needles: words in the folded message, any of them.
        types: words in the error's type or code, any of them.
        oauth: only for requests that were sent with a login token.
    """

    row: int
    kind: Kind
    statuses: tuple[int, ...] = ()
    needles: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    oauth: bool = False


OK = Kind("ok", "none")
REQUEST_FAULT = Kind("request-fault", "request")
MODEL_FAULT = replace(REQUEST_FAULT, scope="model")
STALE_TOKEN = Kind("stale-token", "login")
DEAD_KEY = Kind("dead-key", "key", "block", "key", "hand")
UNKNOWN_401 = Kind("unknown-401", "key", "block", "key", "seconds", _HOUR_S, _DAY_S)
BANNED = Kind("banned", "account", "block", "group", "hand")
PAYMENT = Kind("payment", "key", "block", "key", "payment", cap_s=_DAY_S)
NO_MONEY = Kind("no-money", "organisation", "block", "group", "payment", cap_s=_DAY_S)
CLIENT_IDENTITY = Kind("client-identity", "client")
UNKNOWN_403 = Kind("unknown-403", "key", "cooldown", "key", "cooldown", cap_s=5 * _HOUR_S)

_QUOTA = Kind("quota", "key", "exhaust", "key", "window", _QUOTA_STEP_S)
QUOTA = replace(_QUOTA, cap_s=31 * _DAY_S, ask_usage=True)
QUOTA_5H = replace(_QUOTA, name="quota-5h", window="5h", cap_s=5 * _HOUR_S)
QUOTA_7D = replace(_QUOTA, name="quota-7d", window="7d", cap_s=7 * _DAY_S)
QUOTA_MONTH = replace(
    _QUOTA, name="quota-month", window="month", cap_s=31 * _DAY_S, fault="account", scope="group"
)

RATE = Kind("rate", "key", "cooldown", "key", "cooldown", cap_s=5 * _HOUR_S)
# Ambiguous (row 18): a short cooldown, unless `/usages` shows the 5 h window full.
RATE_OR_5H = Kind(
    "rate-or-5h", "key", "cooldown", "key", "seconds", 30.0, 5 * _HOUR_S, "5h", ask_usage=True
)
# Row 15: "else 1-5 s"; row 16: "end of the minute"; row 17: "next day".
RATE_ORG = Kind("rate-org", "organisation", "cooldown", "group", "seconds", 3.0, _HOUR_S)
RATE_MINUTE = replace(RATE_ORG, seconds=60.0)
RATE_DAY = replace(
    RATE_ORG, name="rate-day", effect="exhaust", hold="window", seconds=_QUOTA_STEP_S,
    cap_s=_DAY_S, window="1d",
)  # fmt: skip

OVERLOADED = Kind("overloaded", "server", "retry", "endpoint", ask_usage=True)
SERVER = Kind("server", "server", "retry", "endpoint")
TRANSIENT = Kind("transient", "network", "retry")
NETWORK = Kind("network", "network", "retry")
REDIRECT = Kind("redirect", "host", scope="endpoint")
UNKNOWN = Kind("unknown", "server")

_QUOTA_STATUSES = (403, 429)

RULES: tuple[Rule, ...] = (
    Rule(1, REQUEST_FAULT, (400,)),
    Rule(2, STALE_TOKEN, (401,), oauth=True),
    Rule(
        3,
        DEAD_KEY,
        (401,),
        ("api key appears to be invalid", "invalid authentication", "incorrect api key"),
        ("invalid_authentication_error", "incorrect_api_key_error"),
    ),
    Rule(5, PAYMENT, (402,)),
    Rule(6, CLIENT_IDENTITY, (403,), ("only available for coding agents",)),
    Rule(7, QUOTA_7D, _QUOTA_STATUSES, ("weekly (7-day) usage limit",)),
    Rule(8, QUOTA_5H, _QUOTA_STATUSES, ("usage limit for this period",)),
    Rule(9, QUOTA_MONTH, _QUOTA_STATUSES, ("kimi monthly usage limit",)),
    Rule(10, QUOTA, _QUOTA_STATUSES, ("usage limit for this billing cycle",)),
    Rule(
        15,
        RATE_ORG,
        (429,),
        ("max organization concurrency", "max rpm", "max request", "organization rate limit"),
    ),
    Rule(16, RATE_MINUTE, (429,), ("tpm rate limit",)),
    Rule(17, RATE_DAY, (429,), ("tpd rate limit",)),
    Rule(
        11,
        NO_MONEY,
        _QUOTA_STATUSES,
        (
            "exceeded your current",
            "exceeded current quota",
            "check your account balance",
            "insufficient balance",
            "recharge",
            "in arrears",
        ),
        ("exceeded_current_quota_error",),
    ),
    Rule(4, BANNED, (401, 403, 500), ("access terminated", "违反用户协议")),
    Rule(0, UNKNOWN_401, (401,)),
    Rule(
        12,
        REQUEST_FAULT,
        (403,),
        ("permission_denied_error", "security_risk"),
        ("permission_denied_error", "security_risk"),
    ),
    Rule(13, UNKNOWN_403, (403,)),
    Rule(14, MODEL_FAULT, (404,)),
    Rule(18, RATE_OR_5H, (429,), ("receiving too many requests",), ("rate_limit_reached_error",)),
    Rule(
        19,
        OVERLOADED,
        (429,),
        ("engine is currently overloaded",),
        ("engine_overloaded_error", "rate_limit_error"),
    ),
    Rule(20, RATE, (429,)),
    Rule(21, TRANSIENT, (408, 409, 425, 499)),
    # 407 comes from a proxy in between, never from the upstream.
    Rule(23, NETWORK, (407,)),
    Rule(22, SERVER, tuple(range(500, 600))),
    # Every other 4xx, 413 above all, is about the request.
    Rule(1, REQUEST_FAULT, tuple(range(400, 500))),
    # The texts of rows 1, 14 and 22, for errors that come without their status.
    Rule(
        1,
        REQUEST_FAULT,
        (400,),
        ("high risk", "token limit", "exceeds limit", "reasoning_content is missing"),
        ("content_filter", "invalid_request_error"),
    ),
    Rule(14, MODEL_FAULT, (404,), ("not found the model", "method not found")),
    Rule(22, SERVER, (500,), ("rate limit script", "internal server error"), ("server_error",)),
)

#: Every kind by its name; of two with one name, the first in `RULES`.
KINDS = {
    kind.name: kind
    for kind in reversed((*(rule.kind for rule in RULES), OK, REDIRECT, NETWORK, UNKNOWN))
}

#: What clients print when no answer came at all: Node's and Python's words.
NETWORK_WORDS = (
    "connection error",
    "connection_error",
    "connection reset",
    "connection refused",
    "timed out",
    "timeout",
    "econnre",
    "enotfound",
    "getaddrinfo",
    "fetch failed",
    "socket hang up",
    "certificate",
)
