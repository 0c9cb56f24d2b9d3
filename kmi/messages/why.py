"""`kmi why`."""

MESSAGES = {
    "why.picked": (
        "{label}: {why} (strategy {strategy})",
        "{label}: {why} (стратегия {strategy})",
    ),
    "why.none": ("no key: {why}", "ключа нет: {why}"),
    "why.none-until": (
        "no key: {why}; the first is back at {time}",
        "ключа нет: {why}; первый вернётся {time}",
    ),
    "why.why": ("why", "почему"),
}
