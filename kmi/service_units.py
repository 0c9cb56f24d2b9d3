"""The texts by which service managers run the proxy: systemd, launchd, task scheduler (pure).

Each begins with a line that says that kmi wrote it, with a digest of the rest: so a file that a
person changed is known, and left alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from kmi.digest import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANAGERS = ("systemd", "launchd", "windows")
NAME = "kmi-proxy"
#: Reverse-domain style, as launchd wants it.
LABEL = "kmi.proxy"
#: The proxy lets streams end for 30 s.
STOP_S = 40
_MARK = "written by kmi service"
_MARKED = re.compile(rf"^.*\b{_MARK}, ([0-9a-f]{{64}})\b.*\n", re.MULTILINE)

#: Kept by seccomp and by no_new_privs alone, so they hold in every user's manager.
_PLAIN = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
LimitCORE=0
"""
#: Programs that give keys may need more than this leaves them. And in a user's manager all but the
#: last need user namespaces, which some systems forbid.
_NAMESPACES = """\
ProtectSystem=strict
ReadWritePaths={writes}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
MemoryDenyWriteExecute=yes
"""


class Service(NamedTuple):
    """What a service manager has to know.

    Attributes:
        command: the program and its arguments.
        environment: what is set for it; never a secret.
        state_dir: the only place where the proxy writes.
        sandbox: "full", or "light" for programs that give keys, which need more of the system.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    state_dir: str
    sandbox: str = "full"


def unit_text(manager: str, service: Service) -> str:
    """The file for a manager, with its mark.

    Raises:
        ValueError: a value can't be written in such a file.
    """
    for text in (*service.command, *service.environment.values(), service.state_dir):
        if not text.isprintable():
            raise ValueError(f"{text[:60]!a} holds characters that a service file can't hold")
    texts = {"systemd": _systemd, "launchd": _launchd, "windows": _windows}
    return marked(texts[manager](service))


def marked(text: str) -> str:
    """A text with the line that says who wrote it, where its syntax has room for it."""
    digest = sha256_hex(text.encode())
    if text.startswith("<?xml"):
        first, _, rest = text.partition("\n")
        return f"{first}\n<!-- {_MARK}, {digest} -->\n{rest}"
    return f"# {_MARK}, {digest}\n{text}"


def origin(text: str) -> str:
    """Whose a file is: "kmi" as written, "changed" since then, or "foreign"."""
    match = _MARKED.search(text)
    if match is None:
        return "foreign"
    rest = text[: match.start()] + text[match.end() :]
    return "kmi" if sha256_hex(rest.encode()) == match[1] else "changed"


def _systemd(service: Service) -> str:
    environment = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n"
        for name, value in sorted(service.environment.items())
    )
    command = " ".join(_quoted(word, expands=True) for word in service.command)
    sandbox = _PLAIN
    if service.sandbox == "full":
        sandbox += _NAMESPACES.format(writes=_quoted(service.state_dir))
    return f"""\
[Unit]
Description=kmi proxy: changes API keys within a session

[Service]
Type=notify
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
TimeoutStopSec={STOP_S}
Restart=on-failure
RestartSec=2
# Wrong settings do not get better by themselves.
RestartPreventExitStatus=2 77 78
{environment}
{sandbox}
[Install]
WantedBy=default.target
"""


def _quoted(text: str, *, expands: bool = False) -> str:
    r"""A word of a unit file; ``%`` is a specifier there, ``$`` a variable in command lines.

    >>> _quoted('a "b" 100%'), _quoted("$HOME", expands=True)
    ('"a \\"b\\" 100%%"', '$$HOME')
    """
    text = text.replace("%", "%%")
    if expands:
        text = text.replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _launchd(service: Service) -> str:
    import plistlib

    log = f"{service.state_dir}/logs/proxy.log"
    table = {
        "Label": LABEL,
        "ProgramArguments": list(service.command),
        "EnvironmentVariables": dict(sorted(service.environment.items())),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": STOP_S,
        "ProcessType": "Interactive",
        "Umask": 0o077,
        "HardResourceLimits": {"Core": 0},
        "SoftResourceLimits": {"Core": 0},
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    return plistlib.dumps(table, sort_keys=False).decode()


def _windows(service: Service) -> str:
    """A task that starts at the logon; written by the documentation, and never tried."""
    program, *arguments = service.command
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>kmi proxy: changes API keys within a session</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>3</Count>
    </RestartOnFailure>
    <Hidden>true</Hidden>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(program)}</Command>
      <Arguments>{escape(" ".join(_windows_word(word) for word in arguments))}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def _windows_word(word: str) -> str:
    r"""A word of a command line, by the rules of the C runtime.

    >>> print(_windows_word('C:\\a b\\'))
    "C:\a b\\"
    """
    text = re.sub(r'(\\*)"', r'\1\1\\"', word)
    if word and not re.search(r"[ \t]", word):
        return text
    return '"' + re.sub(r"(\\+)$", r"\1\1", text) + '"'
