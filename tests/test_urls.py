"""Base URLs and the allowlist: what is refused and what is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.urls import BaseUrl, allowed, is_loopback, parse_allowlist, parse_base_url

ONLY_KIMI = ("api.kimi.com",)


def admitted(text: str, allowlist: tuple[str, ...] = ONLY_KIMI) -> bool:
    """Whether a key would be sent there."""
    try:
        return allowed(parse_base_url(text), allowlist)
    except ValueError:
        return False


@pytest.mark.parametrize(
    "text",
    [
        "http://api.kimi.com",
        "http://api.kimi.com:443",
        "https://evil-kimi.com",
        "https://kimi.com.evil.com",
        "https://api.kimi.com.evil.com",
        "https://xapi.kimi.com",
        "https://kimi.com",
        "https://api.kimi.com@evil.com",
        "https://evil.com@api.kimi.com",
        "https://user:word@api.kimi.com",
        "https://evil.com#@api.kimi.com",
        "https://evil.com\\@api.kimi.com",
        "https://evil.com\\.api.kimi.com",
        "https://api.kimi.com\\@evil.com",
        "https://api.kimi.com%2eevil.com",
        "https://api.kimi.com%00.evil.com",
        "https://api.kimi.com%2fcoding",
        "https://api.kimi.com\t.evil.com",
        "https://api.kimi.com\n",
        "https://api.kimi.com/\n",
        "\thttps://api.kimi.com",
        " https://api.kimi.com",
        "https://api.kimi.com ",
        "https://api.kimi.com/a b",
        "https://api.kimi.com\0",
        "https://xn--pi-kimi-com-abc.com",
        "https://xn--api-kimi.com",
        "https://api.xn--kimi-8na.com",
        "https://api.kimi\uff0ecom",
        "https://api\u3002kimi.com",
        "https://api\uff61kimi.com",
        "https://\u0430pi.kimi.com",
        "https://api.\u212aimi.com",
        "https://\uff41pi.kimi.com",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://[fe80::1]",
        "https://2130706433",
        "https://0x7f000001",
        "https://0x7f.1",
        "https://127.1",
        "https://010.0.0.1",
        "https://api.kimi.com:8443",
        "https://api.kimi.com:0",
        "https://api.kimi.com:65536",
        "https://api.kimi.com:999999",
        "https://api.kimi.com:",
        "https://api.kimi.com:443:443",
        "https://api.kimi.com:4\u06633",
        "https:api.kimi.com",
        "https:/api.kimi.com",
        "https:///api.kimi.com",
        "//api.kimi.com",
        "api.kimi.com",
        "file:///etc/passwd",
        "file://api.kimi.com",
        "javascript:alert(1)",
        "ftp://api.kimi.com",
        "ws://api.kimi.com",
        "https://169.254.169.254",
        "http://169.254.169.254",
        "https://0.0.0.0",
        "https://api.kimi.com?x=1",
        "https://api.kimi.com/coding?x",
        "https://api.kimi.com#top",
        "https://api.kimi.com/..",
        "https://api.kimi.com/coding/../v1",
        "https://api.kimi.com/./v1",
        "https://api.kimi.com//evil",
        "https://api.kimi.com/%2e%2e",
        "https://api.kimi.com.",
        "https://.api.kimi.com",
        "https://api..kimi.com",
        "https://-api.kimi.com",
        "https://*.kimi.com",
        "https://",
        "",
        "*",
    ],
)
def test_no_key_goes_there(text: str) -> None:
    assert not admitted(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://169.254.169.254",
        "https://0.0.0.0",
        "https://[::]",
        "https://[fe80::1]",
        "https://2130706433",
        "https://xn--kimi-8na.com",
        "https://user@api.kimi.com",
        "https://api.kimi.com.",
        "http://10.0.0.1",
        "http://kimi.internal",
    ],
)
def test_some_are_refused_without_any_allowlist(text: str) -> None:
    assert not admitted(text, ())


@pytest.mark.parametrize(
    "text, normal",
    [
        ("HTTPS://API.KIMI.COM/coding/v1", "https://api.kimi.com/coding/v1"),
        ("https://api.kimi.com:443", "https://api.kimi.com"),
        ("https://api.kimi.com:0443/", "https://api.kimi.com"),
        ("https://api.kimi.com/", "https://api.kimi.com"),
        ("https://api.kimi.com/coding/v1/", "https://api.kimi.com/coding/v1"),
        ("https://api.kimi.com/Coding", "https://api.kimi.com/Coding"),
    ],
)
def test_the_usual_forms_are_accepted_and_normalised(text: str, normal: str) -> None:
    assert str(parse_base_url(text)) == normal
    assert admitted(text)


@pytest.mark.parametrize(
    "text, normal",
    [
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://localhost:80", "http://localhost"),
        ("http://LOCALHOST:81", "http://localhost:81"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://127.255.255.254", "http://127.255.255.254"),
    ],
)
def test_plain_http_is_for_loopback(text: str, normal: str) -> None:
    url = parse_base_url(text)
    assert str(url) == normal
    assert is_loopback(url.host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.evil.com", "127.evil", "localhost.evil.com", "128.0.0.1", "[::2]", "0.0.0.0"],
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)
    assert not admitted(f"http://{host}", ())


def test_the_parts_are_what_the_connection_uses() -> None:
    url = parse_base_url("https://Api.Kimi.com:8443/coding/v1/")
    assert url == BaseUrl("https", "api.kimi.com", 8443, "/coding/v1")
    assert url.netloc == "api.kimi.com:8443"
    assert url.platform == ("api.kimi.com", 8443)


@pytest.mark.parametrize(
    "text, why",
    [
        ("https://user:S3CRET@api.kimi.com", "userinfo"),
        ("https://evil.com?key=S3CRET", "query"),
        ("https://a#S3CRET", "fragment"),
        ("http://S3CRET.example", "plain http"),
        ("S3CRET", "https://host"),
    ],
)
def test_the_message_says_what_is_wrong_and_repeats_nothing(text: str, why: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_base_url(text)
    assert why in str(error.value)
    assert "S3CRET" not in str(error.value)


@pytest.mark.parametrize(
    "allowlist, url, expected",
    [
        ("", "https://anything.example", True),
        (" , ", "https://anything.example", True),
        ("api.kimi.com", "https://api.kimi.com/coding/v1", True),
        ("API.Kimi.Com", "https://api.kimi.com", True),
        ("api.kimi.com", "https://kimi.com", False),
        ("kimi.com", "https://api.kimi.com", False),
        ("*.kimi.com", "https://api.kimi.com", True),
        ("*.kimi.com", "https://a.b.kimi.com", True),
        ("*.kimi.com", "https://kimi.com", False),
        ("*.kimi.com", "https://evilkimi.com", False),
        ("*.kimi.com", "https://kimi.com.evil.com", False),
        ("*.kimi.com", "https://api.kimi.com:8443", False),
        ("*.kimi.com:8443", "https://api.kimi.com:8443", True),
        ("*.kimi.com:8443", "https://api.kimi.com", False),
        ("api.kimi.com:8443", "https://api.kimi.com:8443", True),
        ("api.kimi.com:8443", "https://api.kimi.com", False),
        ("api.kimi.com:443", "https://api.kimi.com", True),
        ("a.example, api.kimi.com", "https://api.kimi.com", True),
        ("a.example,b.example", "https://api.kimi.com", False),
        ("127.0.0.1", "http://127.0.0.1:8080", True),
        ("localhost", "http://127.0.0.1:8080", False),
        ("[::1]", "http://[::1]:9", True),
        ("api.kimi.com", "http://127.0.0.1:8080", False),
    ],
)
def test_the_allowlist_matches_whole_hosts(allowlist: str, url: str, expected: bool) -> None:
    assert allowed(parse_base_url(url), parse_allowlist(allowlist)) is expected


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*.",
        "*.*.com",
        "api.*.com",
        "https://api.kimi.com",
        "api.kimi.com/coding",
        "api.kimi.com:x",
        "api.kimi.com:\u00b2",
        "user@api.kimi.com",
        "api kimi com",
        "api.kimi.com;evil.com",
        "-a.com",
        ".kimi.com",
        "api.kimi\u3002com",
        "good.example,*",
    ],
)
def test_a_bad_entry_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match="entry"):
        parse_allowlist(text)


# Not the whole of Unicode only: what parsers stumble over, more often than chance would have it.
hostile = st.text(
    st.one_of(
        st.sampled_from("/:@#?\\%.[]-0123456789xX\t\n\0 \u3002\uff0e\u212a"), st.characters()
    ),
    max_size=20,
)


@given(hostile, hostile)
def test_any_text_is_a_clean_answer(middle: str, end: str) -> None:
    for text in (middle, f"https://{middle}", f"https://{middle}api.kimi.com{end}"):
        try:
            url = parse_base_url(text)
        except ValueError:
            continue
        assert parse_base_url(str(url)) == url
        assert str(url).isascii()
        assert str(url).isprintable()
        allowed(url, ONLY_KIMI)


@given(hostile)
def test_what_is_admitted_has_the_host_that_two_other_parsers_see(middle: str) -> None:
    import urllib.parse

    import httpx

    text = f"https://{middle}api.kimi.com/coding/v1"
    if admitted(text):
        assert httpx.URL(text).host == "api.kimi.com"
        assert urllib.parse.urlsplit(text).hostname == "api.kimi.com"


@given(st.text(max_size=30))
def test_an_allowlist_of_any_text_never_raises_later(text: str) -> None:
    try:
        entries = parse_allowlist(text)
    except ValueError:
        return
    for url in ("https://api.kimi.com", "http://127.0.0.1:8080", "http://[::1]:9"):
        allowed(parse_base_url(url), entries)
