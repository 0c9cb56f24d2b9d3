"""`/status` and `/metrics`: whole, strict, and without a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kmi.proxy.limits import Caps
from kmi.proxy.status import LISTED, metrics_text, status_document
from kmi.proxy.tally import BUCKETS_S, STEPS, Tally
from tests.proxy.sample import HOSTILE, NOW, SECRET, live, sample_document, served, tally, view

# `/status`.


def test_the_document_says_everything() -> None:
    found = sample_document()
    assert found["schema"] == 1
    assert json.loads(json.dumps(found)) == found
    work, home, home2, team = found["keys"]
    assert (work["label"], work["key_id"], work["status"]) == ("work", "id-work", "healthy")
    assert (work["active"], work["priority"], work["usable"]) == (["proxy"], 1, True)
    assert work["windows"][0] == {
        "name": "5h",
        "left": 0.66,
        "resets_at": "2026-09-21T15:37:20.000Z",
    }
    assert work["in_flight"] == 2
    assert work["served"]["requests"] == 45
    assert work["last_verdict"] == "ok"
    assert (home["status"], home["account"], home2["account"]) == ("warn", "A", "A")
    assert (home2["code"], home2["usable"]) == ("quota-5h", False)
    assert home2["back_at"] == "2026-09-21T15:37:20.000Z"
    assert (team["status"], team["last_verdict"], team["served"]["requests"]) == (
        "blocked",
        None,
        0,
    )
    assert found["limits"] == Caps(rps=5)._asdict()
    assert (found["in_flight"], found["sessions"], found["queued"]) == (3, 7, 0)
    assert found["totals"]["requests"] == 90
    assert found["totals"]["retried"] == 3
    assert found["strategy"] == "round-robin"
    assert found["started_at"] < found["at"]


def test_requests_are_the_latest_first_as_in_the_trace() -> None:
    found = sample_document()["recent"]
    assert [request["ts"] for request in found] == sorted((r["ts"] for r in found), reverse=True)
    assert found[-1]["tokens"] == {"prompt": 12000, "cached": 9000, "completion": 250}
    count = Tally()
    for number in range(500):
        count.note(served(number, NOW))
    seen = view()
    assert len(status_document(seen, count, live(seen))["recent"]) == LISTED


def test_the_picture_ends_now() -> None:
    line = sample_document()["timeline"]
    assert line["step_s"] * STEPS == 600
    assert {label: len(counts) for label, counts in line["keys"].items()} == {
        "home": STEPS,
        "work": STEPS,
    }
    total = sum(map(sum, line["keys"].values()))
    assert total == 90
    seen = view()
    later = status_document(seen, tally(), live(seen, NOW + 300.0))["timeline"]
    assert 0 < sum(map(sum, later["keys"].values())) < 90
    gone = status_document(seen, tally(), live(seen, NOW + 6000.0))["timeline"]
    assert gone["keys"] == {}


def test_a_new_proxy_has_a_document_too() -> None:
    seen = view()
    empty = seen._replace(keys=(), states={}, active=None)
    found = status_document(empty, Tally(), live(empty, in_flight={}))
    assert (found["keys"], found["recent"], found["confidence"]["percent"]) == ([], [], None)


def test_neither_tells_a_secret() -> None:
    seen = view()
    for text in (json.dumps(sample_document()), metrics_text(seen, tally(), live(seen))):
        assert "CANARY" not in text
        assert SECRET[-8:] not in text
        assert "org-" not in text


# `/metrics`.

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? '
    r"([0-9.e+-]+|\+Inf|NaN)"
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def parse(text: str) -> tuple[dict[str, str], dict[tuple[str, tuple[tuple[str, str], ...]], float]]:
    """A strict reading of the text format 0.0.4: kinds by name, and values by name and labels."""
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    helps: set[str] = set()
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    family = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, about = line.split(" ", 3)
            assert name not in helps, f"{name} is described twice"
            assert about
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert _NAME.fullmatch(family)
            assert family in helps
            assert family not in kinds
            assert kind in {"counter", "gauge", "histogram"}
            kinds[family] = kind
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            name, inside, number = sample.groups()
            base = re.sub(r"_(bucket|sum|count)$", "", name) if name != family else name
            assert base == family, "samples stand below their family"
            labels = tuple(sorted(_LABEL.findall(inside or "")))
            assert len({label for label, _ in labels}) == len(labels)
            assert (name, labels) not in values, "no sample stands twice"
            values[name, labels] = float(number)
    return kinds, values


def metrics(count: Tally | None = None, **changes: Any) -> dict[Any, float]:
    seen = view()
    return parse(metrics_text(seen, count or tally(), live(seen, **changes)))[1]


def test_the_strict_reading_refuses_what_is_wrong() -> None:
    head = "# HELP a x\n# TYPE a gauge\n"
    assert parse(head + 'a{l="x\\n"} 1\n')[1] == {("a", (("l", "x\\n"),)): 1.0}
    for wrong in (
        head + "a 1",
        head + 'a{l="x"y"} 1\n',
        head + 'a{l="x\ny"} 1\n',
        head + "b 1\n",
        head + "a 1\na 1\n",
        "a 1\n",
        "# TYPE a gauge\na 1\n",
    ):
        with pytest.raises(AssertionError):
            parse(wrong)


def test_names_follow_the_conventions() -> None:
    seen = view()
    kinds, values = parse(metrics_text(seen, tally(), live(seen)))
    for name, kind in kinds.items():
        assert name.startswith("kmi_")
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|millis|kb|mb|percent|minutes)(_|$)", name)
    assert set(kinds.values()) == {"counter", "gauge", "histogram"}
    assert {name for name, _ in values if "bucket" in name} == {
        "kmi_first_byte_seconds_bucket",
        "kmi_request_seconds_bucket",
    }


def test_the_values_are_those_of_the_tally() -> None:
    found = metrics()
    ok = (("key", "work"), ("status", "200"), ("verdict", "ok"))
    assert found["kmi_requests_total", ok] == 44
    total = sum(value for (name, _), value in found.items() if name == "kmi_requests_total")
    assert total == 90
    assert found["kmi_requests_in_flight", (("key", "work"),)] == 2
    assert found["kmi_key_usable", (("key", "home2"),)] == 0
    assert found["kmi_key_left_ratio", (("key", "work"), ("window", "5h"))] == pytest.approx(0.66)
    assert found["kmi_key_back_time_seconds", (("key", "home2"),)] == NOW + 1.4 * 3600
    assert found["kmi_tokens_total", (("key", "home"), ("kind", "prompt"))] > 0
    assert found["kmi_build_info", (("version", "0.1.0"),)] == 1
    assert metrics(draining=True)["kmi_draining", ()] == 1
    refused = metrics(refused={"wrong-token": 3})
    assert refused["kmi_refused_requests_total", (("code", "wrong-token"),)] == 3


def test_histograms_add_up() -> None:
    found = metrics()
    ends = [*(f"{end:g}" for end in BUCKETS_S), "+Inf"]
    counts = [found["kmi_request_seconds_bucket", (("le", end),)] for end in ends]
    assert counts == sorted(counts)
    assert counts[-1] == found["kmi_request_seconds_count", ()] == 90
    assert found["kmi_first_byte_seconds_count", ()] == 88
    assert found["kmi_request_seconds_sum", ()] > 90 * 3.0


def test_strange_labels_are_escaped() -> None:
    count = Tally()
    count.note(served(1, NOW, label='a"b\\c\nd', verdict=HOSTILE))
    found = metrics(count)
    (labels,) = [labels for name, labels in found if name == "kmi_requests_total"]
    assert dict(labels)["key"] == 'a\\"b\\\\c\\nd'


def test_there_are_few_series() -> None:
    count = Tally()
    for number in range(2000):
        count.note(served(number, NOW, path=f"/{number}", session=f"{number:08x}"))
    assert len(metrics(count)) < 100


def test_the_manual_names_every_metric() -> None:
    seen = view()
    kinds, _ = parse(metrics_text(seen, tally(), live(seen)))
    page = Path(__file__).parents[2] / "docs" / "how-to" / "trace.md"
    named = set(re.findall(r"`(kmi_[a-z_]+)", page.read_text(encoding="utf-8")))
    assert named == set(kinds)
