"""Recipes for other package managers, from what pyproject.toml says: `packaging/`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tomlkit

from kmi import __version__

ROOT = Path(__file__).parents[1]
TEMPLATES = Path(__file__).parent / "templates" / "packaging"
#: Names of Debian's packages that are not ``python3-NAME``.
DEBIAN = {"python-dotenv": "python3-dotenv"}


def project() -> Any:
    """The whole of pyproject.toml."""
    return tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()


def formula() -> str:
    """The formula for Homebrew."""
    table = project()["project"]
    return _filled(
        "kmi.rb", version=__version__, **{n: table[n] for n in ("description", "license")}
    )


def control() -> str:
    """What Debian's package is, and needs."""
    table = project()
    depends = [_debian(line) for line in table["project"]["dependencies"] if ";" not in line]
    (hatchling,) = table["build-system"]["requires"]
    return _filled(
        "control",
        depends="\n".join(f" {line}," for line in sorted(depends)),
        hatchling=">= " + hatchling.partition(">=")[2],
    )


def _debian(requirement: str) -> str:
    """A requirement as Debian writes it.

    >>> _debian("python-dotenv>=1.0")
    'python3-dotenv (>= 1.0)'
    """
    name, _, least = requirement.partition(">=")
    return f"{DEBIAN.get(name, 'python3-' + name)} (>= {least})"


def _filled(template: str, **values: str) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return re.sub(r"{{(\w+)}}", lambda match: values[match[1]], text)


FILES = {"packaging/homebrew/kmi.rb": formula, "packaging/debian/control": control}
