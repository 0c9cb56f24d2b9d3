"""How one process gets its own key: by the shared config, a private one, or a variable (pure).

The means are different for each client; what was taken and why is in docs/decisions/0001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmi.client_args import AGENTS, CLI, CODE, read_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmi.kimi_edits import Credential

#: More `kmi run` than this around one process is a wrapper that calls itself.
MAX_DEPTH = 16

#: Variables by which each client would take another key than the one it is given.
DEFEATING = {
    CLI: ("KIMI_API_KEY", "KIMI_BASE_URL"),
    CODE: ("KIMI_MODEL_NAME", "KIMI_MODEL_API_KEY", "KIMI_MODEL_BASE_URL"),
}
#: Variables that name a client's home, and, for kmi itself, the real one behind a private home.
HOME_VARIABLES = {
    CLI: ("KIMI_SHARE_DIR", "KMI_CLI_HOME"),
    CODE: ("KIMI_CODE_HOME", "KMI_CLIENT_HOME"),
}
#: Headers that Kimi Code adds to every request; one of them may be the credential.
HEADERS = "KIMI_CODE_CUSTOM_HEADERS"


#: The default of mappings that are never changed.
_NOTHING: Mapping[str, Any] = {}


class Note(NamedTuple):
    """Something the person should know: a message of `messages.run`, and its values."""

    message: str
    values: Mapping[str, str]


#: What turns Kimi Code's watch of its config off.
WATCHES_NOT = ("0", "false", "no", "off")


class Launch(NamedTuple):
    """How a run gets its key.

    Attributes:
        mode: "pinned" (this process has its own key), "following" (it takes what the config
            holds, also later), "swapped" (it reads the config like any program).
        variables: set for the program; None unsets one.
        private: what kmi has to make for it: "file" (a config, given by ``--config-file``),
            "home" (a client home whose config is its own), or "".
        notes: what the person should know.
    """

    mode: str
    variables: Mapping[str, str | None] = _NOTHING
    private: str = ""
    notes: tuple[Note, ...] = ()

    def __repr__(self) -> str:
        """Without anything secret."""
        return f"Launch(mode={self.mode!r}, private={self.private!r})"


def plan(
    program: str | None,
    client: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    key_variable: str | None,
    credential: Credential,
    *,
    label: str,
    pin: bool,
    login: bool = False,
    links: bool = True,
    nested: bool = False,
) -> Launch:
    """How a program gets a key (pure).

    Args:
        program: "kimi-cli" or "kimi-code" when a client is run, None for any other program.
        client: whose config was swapped.
        arguments: the program's own.
        env: the environment it would get.
        key_variable: the variable that the config takes the key from, if it does.
        credential: the key, and where it is valid.
        label: names the key in notes.
        pin: the run was told a key, or must not follow the config for another reason.
        login: the config has an OAuth login, which beats every variable.
        links: a private home can be made, for the system has links.
        nested: the environment comes from a run of kmi, which set what would be reported.
    """
    cleared, notes = defeating(client, env, label, nested=nested)
    by_variables = {**cleared, **cli_variables(credential)}
    if key_variable is not None:
        return Launch("pinned", {**cleared, key_variable: credential.secret}, notes=notes)
    if program == CLI:
        call = read_call(CLI, arguments)
        if call.own_config:
            if pin:
                return Launch("pinned", by_variables, notes=notes)
            note = Note("run.own-config", {"label": repr(label)})
            return Launch("swapped", notes=(note,))
        if call.subcommand not in AGENTS[CLI]:
            return Launch("pinned", cleared, "file", notes)
        # They know no --config-file: it would be ignored in silence.
        if links or login:
            return Launch("pinned", cleared, "home", notes)
        return Launch("pinned", by_variables, notes=notes)
    if pin and (client == CODE or login):
        return Launch("pinned", cleared, "home", notes)
    if pin:
        return Launch("pinned", by_variables, notes=notes)
    if program == CODE:
        if env.get("KIMI_CODE_WATCH", "").strip().lower() in WATCHES_NOT:
            # It reads the config seconds after the lock has ended, and never again.
            return Launch("pinned", cleared, "home", notes)
        watch = {} if "KIMI_CODE_WATCH" in env else {"KIMI_CODE_WATCH": "1"}
        return Launch("following", {**cleared, **watch}, notes=notes)
    return Launch("swapped", cleared, notes=notes)


def cli_variables(credential: Credential) -> dict[str, str | None]:
    """What pins kimi-cli by its environment; its search and fetch keep the file's key."""
    return {"KIMI_API_KEY": credential.secret, "KIMI_BASE_URL": str(credential.base_url)}


def defeating(
    client: str, env: Mapping[str, str], label: str, *, nested: bool
) -> tuple[dict[str, str | None], tuple[Note, ...]]:
    """Exported variables that would replace the key; they are unset, and the person is told."""
    present = [name for name in DEFEATING[client] if env.get(name)]
    if client == CODE and "authorization" in env.get(HEADERS, "").lower():
        present.append(HEADERS)
    if not present:
        return {}, ()
    names = list(present)
    if client == CODE and present != [HEADERS]:
        names += [name for name in env if name.startswith("KIMI_MODEL_")]
    cleared: dict[str, str | None] = dict.fromkeys(names)
    if nested:
        return cleared, ()
    return cleared, (Note("run.exported", {"name": present[0], "label": repr(label)}),)


def depth(env: Mapping[str, str]) -> int:
    """How many `kmi run` are around this one."""
    text = env.get("KMI_DEPTH", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
