"""`kmi simulate`."""

MESSAGES = {
    "simulate.strategy": ("strategy", "стратегия"),
    "simulate.served": ("served", "обслужено"),
    "simulate.of-bound": ("of bound", "от границы"),
    "simulate.refused": ("refused", "отказано"),
    "simulate.misses": ("misses", "мимо кеша"),
    "simulate.ratio": ("ratio", "кратно"),
    "simulate.switches": ("switches", "смен"),
    "simulate.errors": ("errors", "ошибок"),
    "simulate.wasted": ("wasted", "сгорело"),
    "simulate.bound": ("(bound)", "(граница)"),
    "simulate.what": (
        "keys: {keys}, accounts: {accounts}, sessions: {sessions}, requests: {requests}, "
        "days: {days}, load: {load}",
        "ключей: {keys}, аккаунтов: {accounts}, сессий: {sessions}, запросов: {requests}, "
        "дней: {days}, нагрузка: {load}",
    ),
    "simulate.progress": ("simulating", "моделирую"),
}
