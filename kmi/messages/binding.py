"""What `kmi why` and `kmi status` say of the project binding."""

MESSAGES = {
    "binding.bound": ("bound by {path}: {binding}", "привязка {path}: {binding}"),
    "binding.missing": (
        "  it names {label}: no such key",
        "  она называет {label}: такого ключа нет",
    ),
    "binding.closed": ("no key: {path} {why}", "ключа нет: {path}: {why}"),
    "binding.ignored": ("ignored: {path} {why} ({fix})", "не действует: {path}: {why} ({fix})"),
    "binding.untold": ("{path} {why} ({fix})", "{path}: {why} ({fix})"),
}
