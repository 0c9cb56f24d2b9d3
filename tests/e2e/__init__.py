"""The real clients through `kmi run`, against the project's own fake Kimi API."""
