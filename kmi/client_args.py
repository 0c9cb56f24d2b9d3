"""What a client's command line means (pure).

The tables are those of kimi-cli 1.51.0 and Kimi Code 2.1.0, read from their own ``--help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

CLI, CODE = "kimi-cli", "kimi-code"

#: Top-level options that take a value.
VALUE_OPTIONS = {
    CLI: frozenset(
        {
            "-w", "--work-dir", "--add-dir", "--config", "--config-file", "-m", "--model", "-p",
            "-c", "--prompt", "--command", "--input-format", "--output-format", "--agent",
            "--agent-file", "--mcp-config-file", "--mcp-config", "--skills-dir",
            "--max-steps-per-turn", "--max-retries-per-step", "--max-ralph-iterations",
        }
    ),
    CODE: frozenset(
        {
            "-m", "--model", "-p", "--prompt", "--output-format", "--skills-dir", "--agent",
            "--agent-file", "--add-dir",
        }
    ),
}  # fmt: skip
#: Options whose value may be left out.
OPTIONAL_VALUE = {"-S", "-r", "--session", "--resume"}
#: Subcommands that need no key, or manage credentials themselves (clients.md).
HANDS_OFF = {
    CLI: frozenset({"login", "logout", "info", "export", "mcp", "plugin", "vis"}),
    CODE: frozenset(
        {
            "login", "logout", "migrate", "provider", "doctor", "upgrade", "update", "export",
            "fork", "session", "vis", "install-desktop",
        }
    ),
}  # fmt: skip
#: Subcommands that start an agent, and so need a key.
AGENTS = {
    CLI: frozenset({"acp", "web", "term"}),
    CODE: frozenset({"acp", "web", "server", "rc", "remote"}),
}
_ASKING = {"--version", "-V", "--help", "-h"}


class Call(NamedTuple):
    """A client's command line.

    Attributes:
        subcommand: None for the main job, which is an agent.
        asks: it only wants help or the version.
        own_config: it names a config of its own.
    """

    subcommand: str | None
    asks: bool
    own_config: bool

    def hands_off(self, client: str) -> bool:
        """Whether it needs no key, so kmi must not touch any."""
        return self.asks or self.subcommand in HANDS_OFF[client] or self._hidden()

    def _hidden(self) -> bool:
        return self.subcommand is not None and self.subcommand.startswith("__")


def read_call(client: str, arguments: Sequence[str]) -> Call:
    """Read a client's arguments, without the program's name.

    >>> read_call("kimi-cli", ["--verbose", "-m", "k", "info"]).subcommand
    'info'
    """
    subcommand = None
    asks = own_config = False
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            known = HANDS_OFF[client] | AGENTS[client]
            if word in known or word.startswith("__"):
                subcommand = word
                asks = asks or any(later in {"--help", "-h"} for later in words)
            break
        name, given, _ = word.partition("=")
        own_config = own_config or (client == CLI and name in {"--config", "--config-file"})
        asks = asks or name in _ASKING
        if not given and (
            name in VALUE_OPTIONS[client]
            or (name in OPTIONAL_VALUE and words and not words[0].startswith("-"))
        ):
            del words[:1]
    return Call(subcommand, asks, own_config)
