"""What `kmi why` and `kmi status` say about the project binding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmi.app import App
    from kmi.binding import Binding, Project


def binding_document(app: App, project: Project | None) -> dict[str, Any]:
    """The fields for ``--json``."""
    document: dict[str, Any] = {"binding": None, "binding_closed": None, "bindings_ignored": []}
    if project is None:
        return document
    if project.binding is not None:
        missing = _missing(app, project.binding)
        document["binding"] = {**project.binding.table(), "missing": missing}
    if project.closed:
        document["binding_closed"] = {"path": project.closed_by, "why": project.closed}
    document["bindings_ignored"] = [
        {"path": item.path, "state": item.state, "why": item.why} for item in project.ignored
    ]
    return document


def binding_lines(app: App, project: Project | None) -> list[str]:
    """The same for people; nothing where there is no `.kmi.toml`."""
    if project is None:
        return []
    lines = []
    if project.binding is not None:
        lines.append(f"bound by {project.binding.path}: {project.binding}")
        lines += [f"  it names {label!r}: no such key" for label in _missing(app, project.binding)]
    if project.closed:
        lines.append(f"no key: {project.closed_by} {project.closed}")
    lines += [f"ignored: {item.path} {item.why} ({item.fix})" for item in project.ignored]
    return lines


def _missing(app: App, binding: Binding) -> list[str]:
    return [label for label in binding.keys if app.keyring.find(label) is None]
