"""The classification: every text of upstream.md, in every coat that it comes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.verdicts import KINDS, RULES, Verdict, classify, classify_text, parse_rules

Text = tuple[int, str, str, str, int, Optional[str], str]
Form = Callable[[str, str], Union[str, bytes]]

# (status, type, message, verdict, row, window, scope): rows as in upstream.md.
TEXTS: list[Text] = [
    (400, "content_filter", "The request was rejected", "request-fault", 1, None, "none"),
    (400, "", "considered high risk", "request-fault", 1, None, "none"),
    (400, "", "Your request exceeded model token limit: 262144", "request-fault", 1, None, "none"),
    (400, "", "request exceeds limit 2097152", "request-fault", 1, None, "none"),
    (400, "", "reasoning_content is missing in message 3", "request-fault", 1, None, "none"),
    (400, "", "please recharge your plan", "request-fault", 1, None, "none"),
    (401, "", "The API Key appears to be invalid or may have expired", "dead-key", 3, None, "key"),
    (401, "", "Invalid Authentication", "dead-key", 3, None, "key"),
    (401, "", "Incorrect API key provided", "dead-key", 3, None, "key"),
    (401, "", "Access terminated", "banned", 4, None, "group"),
    (403, "access_terminated_error", "Access terminated", "banned", 4, None, "group"),
    (403, "", "您的账号违反用户协议", "banned", 4, None, "group"),
    (500, "", "Access terminated", "banned", 4, None, "group"),
    (401, "", "no such session", "unknown-401", 0, None, "key"),
    (402, "", "unable to verify your membership benefits", "payment", 5, None, "key"),
    (402, "invalid_request_error", "whatever", "payment", 5, None, "key"),
    (
        403,
        "access_terminated_error",
        "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI",
        "client-identity",
        6,
        None,
        "none",
    ),
    (403, "", "You've reached your weekly (7-day) usage limit", "quota-7d", 7, "7d", "key"),
    (429, "", "You've reached your weekly (7-day) usage limit", "quota-7d", 7, "7d", "key"),
    (403, "", "You've reached your usage limit for this period.", "quota-5h", 8, "5h", "key"),
    (429, "", "You've reached your usage limit for this period.", "quota-5h", 8, "5h", "key"),
    (429, "", "You've hit the Kimi monthly usage limit", "quota-month", 9, "month", "group"),
    (403, "", "the kimi monthly usage limit is reached", "quota-month", 9, "month", "group"),
    (
        403,
        "access_terminated_error",
        "You've reached your usage limit for this billing cycle. Your quota will be refreshed",
        "quota",
        10,
        None,
        "key",
    ),
    (403, "permission_error", "usage limit for this billing cycle", "quota", 10, None, "key"),
    (429, "exceeded_current_quota_error", "words", "no-money", 11, None, "group"),
    (403, "exceeded_current_quota_error", "words", "no-money", 11, None, "group"),
    (429, "", "You exceeded your current token quota", "no-money", 11, None, "group"),
    (403, "", "exceeded current quota", "no-money", 11, None, "group"),
    (403, "", "please check your account balance", "no-money", 11, None, "group"),
    (429, "", "insufficient balance", "no-money", 11, None, "group"),
    (429, "", "please recharge", "no-money", 11, None, "group"),
    (429, "", "your account is in arrears", "no-money", 11, None, "group"),
    (403, "permission_denied_error", "no", "request-fault", 12, None, "none"),
    (403, "", "security_risk", "request-fault", 12, None, "none"),
    (403, "", "something new", "unknown-403", 13, None, "key"),
    (
        404,
        "",
        "Not found the model kimi-x or Permission denied",
        "request-fault",
        14,
        None,
        "model",
    ),
    (404, "", "method not found", "request-fault", 14, None, "model"),
    (429, "", "reached max organization concurrency: 1", "rate-org", 15, None, "group"),
    (429, "", "request reached max RPM: 3", "rate-org", 15, None, "group"),
    (429, "", "max request", "rate-org", 15, None, "group"),
    (429, "", "Organization Rate limit exceeded", "rate-org", 15, None, "group"),
    (429, "", "max RPM: 3, recharge for a higher tier", "rate-org", 15, None, "group"),
    (429, "", "request reached TPM rate limit", "rate-org", 16, None, "group"),
    (429, "", "request reached TPD rate limit", "rate-day", 17, "1d", "group"),
    (
        429,
        "rate_limit_reached_error",
        "We're receiving too many requests at the moment.",
        "rate-or-5h",
        18,
        "5h",
        "key",
    ),
    (429, "rate_limit_reached_error", "new words", "rate-or-5h", 18, "5h", "key"),
    (
        429,
        "engine_overloaded_error",
        "The engine is currently overloaded, please try again later",
        "overloaded",
        19,
        None,
        "endpoint",
    ),
    (429, "rate_limit_error", "new words", "overloaded", 19, None, "endpoint"),
    (429, "", "slow down", "rate", 20, None, "key"),
    (408, "", "", "transient", 21, None, "none"),
    (409, "", "", "transient", 21, None, "none"),
    (499, "", "", "transient", 21, None, "none"),
    (500, "", "error in rate limit script", "server", 22, None, "endpoint"),
    (503, "", "", "server", 22, None, "endpoint"),
    (529, "", "overloaded", "server", 22, None, "endpoint"),
    (413, "", "too large", "request-fault", 1, None, "none"),
    (422, "", "plan_mode", "request-fault", 1, None, "none"),
]
#: What holds a key until a person acts: the two that are sure of it.
FOR_EVER = {"dead-key", "banned"}


def openai_form(kind: str, message: str) -> str:
    return json.dumps({"error": {"message": message, "type": kind}})


def anthropic_form(kind: str, message: str) -> str:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}})


def sse_form(kind: str, message: str) -> str:
    return f"event: error\ndata: {anthropic_form(kind, message)}\n\n"


def utf8_form(kind: str, message: str) -> bytes:
    error = {"error": {"message": message, "type": kind}}
    return json.dumps(error, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("form", [openai_form, anthropic_form, sse_form, utf8_form])
def test_every_text_of_the_reference(form: Form, text: Text) -> None:
    status, kind, message, verdict, row, window, scope = text
    found = classify(status, form(kind, message))
    assert (found.name, found.row, found.window, found.scope) == (verdict, row, window, scope)
    assert found.status == status


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_texts_as_the_clients_print_them(text: Text) -> None:
    status, kind, message, verdict = text[:4]
    python = f"Error code: {status} - {{'error': {{'message': {message!r}, 'type': {kind!r}}}}}"
    assert classify_text(python).name == verdict
    if not kind or verdict not in {"no-money", "rate-or-5h", "overloaded", "request-fault"}:
        # Kimi Code prints no type, so only rows with words can be told.
        assert classify_text(f"{status} {message}").name == verdict
        assert classify_text(f"provider.auth_error: {status} {message}").name == verdict
        full = f"error: failed to run prompt: provider.api_error: {status} {message}"
        assert classify_text(full).name == verdict


#: What a text alone can tell; the other verdicts take a status.
BY_WORDS = {
    "client-identity", "quota-7d", "quota-5h", "quota-month", "quota", "no-money", "rate-org",
    "rate-day", "rate-or-5h", "overloaded",
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_an_error_event_after_a_200_goes_by_its_words(text: Text) -> None:
    status, kind, message, verdict = text[:4]
    found = classify(200, sse_form(kind, message))
    if verdict in BY_WORDS:
        assert found.name == verdict
    elif status != 400:
        assert found.effect in {"pass", "retry"}


def test_a_quota_in_a_stream_is_recognised() -> None:
    event = sse_form("permission_error", "You’ve reached your usage limit for this period")  # noqa: RUF001 - their apostrophe
    assert classify(200, event).name == "quota-5h"


def test_a_good_answer_may_quote_any_words() -> None:
    chunk = 'data: {"choices": [{"delta": {"content": "usage limit for this period"}}]}\n\n'
    assert classify(200, chunk).name == "ok"
    assert classify(200, "usage limit for this period").name == "ok"
    assert classify(200, '{"error": null, "choices": []}').name == "ok"


def test_access_terminated_as_a_type_is_no_ban() -> None:
    body = openai_form("access_terminated_error", "words that no one knows")
    assert classify(403, body).name == "unknown-403"
    assert classify_text("403 " + body).name == "unknown-403"


def test_an_oauth_token_is_stale_and_not_dead() -> None:
    body = openai_form("", "Invalid Authentication")
    assert classify(401, body, oauth=True).name == "stale-token"
    assert classify(401, body, oauth=True).effect == "pass"


def test_an_html_page_goes_by_its_status_alone() -> None:
    page = "<!DOCTYPE html><html><title>Invalid Authentication, recharge</title></html>"
    assert classify(401, page).name == "unknown-401"
    assert classify(403, page).name == "unknown-403"
    assert classify(502, page).name == "server"
    assert classify(403, page).text == "an HTML page: Invalid Authentication, recharge"


def test_no_answer_is_the_networks_fault() -> None:
    assert classify(None, "").name == "network"
    assert classify_text("Connection error.").name == "network"
    assert classify_text("provider.connection_error: Connection error.").name == "network"
    assert classify_text("getaddrinfo ENOTFOUND api.kimi.com").fault == "network"


def test_words_that_no_one_knows_change_nothing() -> None:
    assert (classify_text("the cat sat on the mat").name, classify_text("").name) == (
        "unknown",
        "unknown",
    )
    assert classify_text("Invalid Authentication").effect == "pass"


def test_a_redirect_is_the_hosts_fault() -> None:
    assert (classify(302, "").name, classify(302, "").fault) == ("redirect", "host")


def test_seconds_group_and_evidence_are_taken_from_the_text() -> None:
    message = (
        "Your account org-1f2e3d4c5b6a<ak-9z8y7x6w> request reached organization max RPM: 3, "
        "please try again after 7 seconds. key sk-kimi-abcdef012345 \x1b[2J\u202e"
    )
    found = classify(429, openai_form("rate_limit_reached_error", message))
    same = classify(429, openai_form("", "org-1f2e3d4c5b6a: TPM rate limit"))
    other = classify(429, openai_form("", "org-ffff3d4c5b6a: TPM rate limit"))
    assert found.after_s == 7.0
    assert found.group is not None
    assert len(found.group) == 12
    assert found.group == same.group != other.group
    assert "org-1f2e3d4c5b6a" not in found.text
    assert "org-1f2e…" in found.text
    assert "abcdef" not in found.text
    assert "\x1b" not in found.text
    assert "\u202e" not in found.text


def test_the_table_says_what_its_words_allow() -> None:
    for kind in KINDS.values():
        assert kind.fault in {
            "none", "request", "login", "key", "host", "account", "client", "organisation",
            "server", "network",
        }  # fmt: skip
        assert kind.scope in {"none", "key", "group", "endpoint", "model"}
        assert kind.effect in {"pass", "block", "exhaust", "cooldown", "retry"}
        holds = kind.effect in {"block", "exhaust", "cooldown"}
        assert (kind.hold != "none") == holds
        assert (kind.name in FOR_EVER) == (kind.hold == "hand")
        if kind.hold in {"window", "seconds"}:
            assert 0.0 < kind.seconds <= kind.cap_s
    for rule in RULES:
        assert all(needle == needle.lower() and "'" not in needle for needle in rule.needles)


def test_every_row_of_the_reference_has_a_rule_and_a_text() -> None:
    assert {rule.row for rule in RULES} >= set(range(1, 24))
    assert {row for *_, row, _, _ in TEXTS} | {2, 23} >= set(range(1, 24))


@given(
    st.one_of(st.none(), st.integers(-10, 1000)),
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["error", "message", "type", "code", "detail"]), inner
                )
            ),
            max_leaves=20,
        ).map(json.dumps),
    ),
    st.booleans(),
)
def test_nothing_makes_it_raise(status: int | None, body: str | bytes, oauth: bool) -> None:
    found = classify(status, body, oauth=oauth)
    assert isinstance(found, Verdict)
    assert len(found.text) <= 200
    assert found.text.isprintable()
    if found.kind.hold == "hand":
        assert found.status in {401, 403, 500}


@given(st.text(max_size=300))
def test_no_hook_text_makes_it_raise(text: str) -> None:
    assert len(classify_text(text).text) <= 200
    assert classify_text(f"403 {text}").status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"error":' * 20_000,
        b'{"error": {"message": "' + b"x" * 3_000_000,
        b'{"error": {"message": ' + b"9" * 60_000 + b"}}",
        b"'message':'" * 50_000,
        b"data: error\n" * 50_000,
        b'"message": "' + b"\\" * 65_000,
        b"\xff\xfe\x00" * 1000,
        '{"error": {"message": "\\ud800 lone"}}',
        "\ud800",
    ],
)
def test_monstrous_bodies_are_read_like_any_other(body: str | bytes) -> None:
    found = classify(403, body)
    assert found.name == "unknown-403"
    assert len(found.text) <= 200
    found.text.encode()


def test_a_body_that_was_cut_still_says_what_it_said() -> None:
    body = '{"error": {"message": "You have hit your usage limit for this period. ' + "x" * 100_000
    assert classify(403, body).name == "quota-5h"


def test_users_patterns_come_first() -> None:
    rules = parse_rules(
        "[[pattern]]\n"
        'verdict = "quota-5h"\nstatus = [403]\ncontains = ["Five-Hour  allowance"]\n'
        '[[pattern]]\nverdict = "rate"\ntype = "odd_error"\n'
    )
    body = openai_form("", "your five-hour allowance isn't there")
    assert classify(403, body).name == "unknown-403"
    assert classify(403, body, extra=rules).name == "quota-5h"
    assert classify(429, body, extra=rules).name == "rate"
    assert classify(500, openai_form("ODD_ERROR", ""), extra=rules).name == "rate"
    assert classify_text("403 five-hour allowance", extra=rules).window == "5h"
    assert parse_rules("") == ()


@pytest.mark.parametrize(
    "text, says",
    [
        ("[[pattern", "is not TOML"),
        ("a = 1", "has 'a'"),
        ("[pattern]\nverdict = 'rate'", "an entry begins with [[pattern]]"),
        ("pattern = [1]", "[[pattern]] 1 is not a table"),
        ("[[pattern]]\nverdict='rate'\ncontain=['x']", "[[pattern]] 1 has 'contain'"),
        ("[[pattern]]\ncontains=['x']", "[[pattern]] 1 needs a verdict"),
        ("[[pattern]]\nverdict=1\ncontains=['x']", "[[pattern]] 1 needs a verdict"),
        ("[[pattern]]\nverdict='rate'", "[[pattern]] 1 needs words"),
        ("[[pattern]]\nverdict='rate'\ncontains=['']", "contains must be a list of words"),
        ("[[pattern]]\nverdict='rate'\ncontains=[1]", "contains must be a list of words"),
        ("[[pattern]]\nverdict='rate'\ncontains=['x']\nstatus=[200]", "from 400 to 599"),
        ("[[pattern]]\nverdict='rate'\ncontains=['x']\nstatus='403'", "from 400 to 599"),
        ("[[pattern]]\nverdict='rate'\ncontains=['x']\nstatus=[true]", "from 400 to 599"),
        (
            "[[pattern]]\nverdict='rate'\ncontains=['x']\n[[pattern]]\nverdict='rat'\n",
            "[[pattern]] 2 needs a verdict",
        ),
        ("x = " + "[" * 5000, "is not TOML"),
    ],
)
def test_a_wrong_pattern_names_its_entry(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_rules(text)
    assert says in str(caught.value)
