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
    words = app.words
    bound = project.binding
    if bound is not None:
        labels = words.sentence(str(bound))
        lines.append(words("binding.bound", path=bound.path, binding=labels))
        missing = _missing(app, bound)
        lines += [words("binding.missing", label=repr(label)) for label in missing]
    if project.closed:
        why = words.sentence(project.closed)
        lines.append(words("binding.closed", path=project.closed_by, why=why))
    for item in project.ignored:
        why, fix = words.sentence(item.why), words.sentence(item.fix)
        lines.append(words("binding.ignored", path=item.path, why=why, fix=fix))
    return lines


def _missing(app: App, binding: Binding) -> list[str]:
    return [label for label in binding.keys if app.keyring.find(label) is None]
