"""Reading an error out of its coat."""

from __future__ import annotations

import pytest

from kmi.error_texts import evidence, group_named, read_error, split_status, wait_named


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("please try again after 2 seconds", 2.0),
        ("please try again after 1 second.", 1.0),
        ("retry in 1.5s", 1.5),
        ("try again in 500 ms", 0.5),
        ("try again after 3 minutes", 180.0),
        ("resets in 2 hours", 7200.0),
        ("请在 30 秒后重试", 30.0),
        ("after 0 seconds", None),
        ("after 99999999 hours", None),
        ("after 5 tries", None),
        ("after a while", None),
        ("limit 60 seconds", None),
    ],
)
def test_the_wait_that_a_text_names(text: str, seconds: float | None) -> None:
    assert wait_named(text) == seconds


def test_groups_go_by_the_organisation_and_not_by_the_key() -> None:
    assert group_named("org-1a2b<ak-11ff22>") == group_named("see org-1a2b, proj-77aa")
    assert group_named("proj-77aa") not in {None, group_named("org-1a2b")}
    assert group_named("ak-11ff22") is None
    assert group_named("an org-wide limit, org-level") is None


@pytest.mark.parametrize(
    "text, status, rest",
    [
        ("403 You've reached", 403, "You've reached"),
        ("Error code: 429 - {'error': 1}", 429, "{'error': 1}"),
        ("provider.rate_limit: 429 slow", 429, "slow"),
        ("APIStatusError: HTTP 503", 503, ""),
        ("status code: 402 pay", 402, "pay"),
        ("took 403ms", None, "took 403ms"),
        ("200 fine", None, "200 fine"),
        ("limit 1500 reached", None, "limit 1500 reached"),
    ],
)
def test_the_status_in_a_clients_text(text: str, status: int | None, rest: str) -> None:
    assert split_status(text) == (status, rest)


@pytest.mark.parametrize(
    "body, message, kind",
    [
        ('{"error": "forbidden", "message": "words"}', "words", "forbidden"),
        ('{"error": "forbidden"}', "forbidden", "forbidden"),
        ('{"detail": "words"}', "words", ""),
        ('[{"error": {"message": "words", "code": "C"}}]', "words", "c"),
        ('\ufeff{"error": {"msg": "words"}}', "words", ""),
        ("- {'error': {'message': \"it's\", 'type': 'T'}}", "it's", "T"),
        ("{'error': {'message': 'it\\'s \\u8fdd\\nover'}}", "it's 违 over", ""),
        ("plain words", "plain words", ""),
    ],
)
def test_the_forms_of_an_error(body: str, message: str, kind: str) -> None:
    error = read_error(body)
    assert (error.message, error.kind.lower()) == (message, kind.lower())


@pytest.mark.parametrize(
    "text, shown",
    [
        ("key sk-kimi-AbC_12-3 is bad", "key sk-… is bad"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
        ("token eyJhbGciOiJIUzI1NiJ9.e30.x1", "token …"),
        ("a\r\nb\u2028c\u3000d", "a b c d"),
        ("\x07\x9b\u202e\u200b\ud800", "\\x07\\x9b\\u202e\\u200b\\ud800"),
        ("a risk-free task-list", "a risk-free task-list"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_evidence_is_fit_to_be_shown(text: str, shown: str) -> None:
    assert evidence(text) == shown
