"""Session logs of both clients, written as the clients write them, and kmi's own records."""

from __future__ import annotations

import json
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmi.state import State
from kmi.store import Store
from kmi.timezones import utc_text
from kmi.usage.ingest import Found, ingest
from kmi.usage.store import Sum, open_usage
from tests.conftest import CLI, CODE

if TYPE_CHECKING:
    from collections.abc import Sequence

#: When everything here happens.
NOW = 1_790_000_000.0
ALPHA, BETA, GAMMA = "a" * 12, "b" * 12, "c" * 12


class Place:
    """The homes of both clients and a state directory.

    Attributes:
        said: what ingestion told.
    """

    def __init__(self, root: Path, state: Path | None = None) -> None:
        self.root = root
        self.state = state or root / "state"
        self.homes = {CLI: str(root / ".kimi"), CODE: str(root / ".kimi-code")}
        self.project = "/code/project"
        self.said: list[str] = []
        self.store = Store(str(self.state), self.said.append)
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)

    # What clients write.

    def log(self, client: str, session: str, *, agent: str = "", project: str = "") -> Path:
        """Where a log is; its session is made when it is first asked for."""
        project = project or self.project
        if client == CLI:
            folder = (
                self.root
                / ".kimi/sessions"
                / md5(project.encode("utf-8", "surrogateescape")).hexdigest()
                / session
            )
            path = folder / "subagents" / agent if agent else folder
        else:
            folder = self.root / ".kimi-code/sessions" / f"wd_{Path(project).name}" / session
            path = folder / "agents" / (agent or "main")
        path.mkdir(parents=True, exist_ok=True)
        return path / "wire.jsonl"

    def begin(
        self, client: str, session: str, at: float, *, project: str = "", run: str = ""
    ) -> None:
        """Let a session begin."""
        log = self.log(client, session, project=project)
        if client == CLI:
            append(log, {"type": "metadata", "protocol_version": "1.10"})
            append(log, {"timestamp": at, "message": {"type": "TurnBegin", "payload": {}}})
            return
        append(log, {"type": "metadata", "protocol_version": "1.5", "created_at": int(at * 1000)})
        home = f"/s/pins/1-2-{run}/home/sessions/wd/x/agents/main" if run else "/s/agents/main"
        state = {"cwd": project or self.project, "createdAt": int(at * 1000)}
        state["agents"] = {"main": {"homedir": home}}
        (log.parents[2] / "state.json").write_text(json.dumps(state))

    def record(self, name: str, event: str, at: float, **fields: object) -> None:
        """One of kmi's own records."""
        append(self.state / name, {"schema": 1, "ts": utc_text(at), "event": event, **fields})

    def run(self, run: str, at: float, key: str, mode: str = "pinned", client: str = CODE) -> None:
        """A run of the ledger."""
        self.record("runs.jsonl", "run", at, run=run, cwd=self.project, client=client, mode=mode,
                    key=key, label=f"label-{key[:1]}")  # fmt: skip

    def swap(self, at: float, key: str, client: str = CODE) -> None:
        """A swap of the audit."""
        self.record("audit.jsonl", "audit", at, client=client, key=key, outcome="changed",
                    command="use", before=None, after=f"label-{key[:1]}")  # fmt: skip

    # What kmi makes of it.

    def read(self) -> Found:
        """Ingest what is new."""
        with open_usage(self.store) as usage:
            folder = self.store.directory
            return ingest(usage, self.homes, folder, State(), nothing, self.said.append)

    def paid(self) -> list[tuple[float, str | None, str]]:
        """Of each call since `NOW`: when, who paid, and how sure that is."""
        with open_usage(self.store) as usage:
            rows = usage.base.execute("SELECT time, key, sure FROM calls ORDER BY time").fetchall()
        return [
            (round(t - NOW, 3), key, ("exact", "by time", "unknown")[sure]) for t, key, sure in rows
        ]

    def sums(self, *groups: str, **options: Any) -> list[Sum]:
        with open_usage(self.store) as usage:
            return usage.sums(*groups, **options)

    def spent(self) -> tuple[int, int]:
        """How many calls, and their input: the sums must be those of the rows."""
        with open_usage(self.store) as usage:
            rows = list(usage.rows())
            sums = usage.sums("quarter", "session")
        found = len(rows), sum(row.input_other for row in rows)
        assert (sum(s.calls for s in sums), sum(s.input_other for s in sums)) == found
        return found


def nothing(*_: object) -> None:
    """Whoever is told needs not know."""


def append(path: Path, *records: object, end: str = "\n") -> None:
    """Write JSON lines, or the part of one."""
    with path.open("a") as file:
        for record in records:
            text = record if isinstance(record, str) else json.dumps(record, separators=(",", ":"))
            file.write(text + end)


def code_call(at: float, fresh: int = 1, *, agent: str = "main", cached: int = 3) -> dict[str, Any]:
    usage = {"inputOther": fresh, "output": 2, "inputCacheRead": cached, "inputCacheCreation": 0}
    return {"type": "usage.record", "agentId": agent, "model": "k", "usage": usage,
            "usageScope": "turn", "time": int(at * 1000)}  # fmt: skip


def cli_call(at: float, fresh: int = 1, message: str = "") -> dict[str, Any]:
    usage = {"input_other": fresh, "output": 2, "input_cache_read": 3, "input_cache_creation": 0}
    payload = {"token_usage": usage, "message_id": message or f"chatcmpl-{at}"}
    return {"timestamp": at, "message": {"type": "StatusUpdate", "payload": payload}}


def inside(event: dict[str, Any], agent: str, at: float) -> dict[str, Any]:
    """A sub-agent's event as the session's own log has it."""
    payload = {"parent_tool_call_id": "t", "agent_id": agent, "event": event["message"]}
    return {"timestamp": at, "message": {"type": "SubagentEvent", "payload": payload}}


def request(at: float, session: str, key: str, tokens: Sequence[int]) -> dict[str, Any]:
    prompt, cached, completion = tokens
    return {
        "request": f"{int(at * 1000) % 2**32:08x}", "method": "POST", "path": "/chat/completions",
        "key": key, "label": f"label-{key[:1]}", "session": session, "status": 200, "verdict": "ok",
        "code": "active", "tried": [], "eligible": 2, "waited_s": 0.0, "first_s": 0.5,
        "total_s": 2.0, "sent": 1, "received": 1,
        "tokens": {"prompt": prompt, "cached": cached, "completion": completion},
    }  # fmt: skip
