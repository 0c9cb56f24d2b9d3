"""Why a run got its key, by the code of the decision. In English the decision tells more itself."""

MESSAGES = {
    "decision.active": (
        "it is the active key, and still usable",
        "это активный ключ, и он ещё годится",
    ),
    "decision.only": ("it is the only usable key", "это единственный годный ключ"),
    "decision.best": ("it is the best by status and quota", "он лучший по состоянию и квоте"),
    "decision.next": ("it is the next usable key in order", "он следующий годный по порядку"),
    "decision.least-recent": ("it was used least recently", "он дольше всех не использовался"),
    "decision.soonest-reset": (
        "its unused quota is lost first",
        "его неиспользованная квота сгорит первой",
    ),
    "decision.stays": ("it is already the best key", "он и так лучший"),
    "decision.tie": ("several keys tie for best; it is next", "лучших несколько; он следующий"),
    "decision.bound": ("the project's binding names it", "его называет привязка проекта"),
    "decision.named": ("it was named", "его назвали"),
    "decision.named-anyway": (
        "it was named, although it is out",
        "его назвали, хотя он недоступен",
    ),
    "decision.probe": (
        "every key is out; it may be back, and is tried once",
        "все ключи недоступны; этот мог вернуться, одна попытка",
    ),
    "decision.all-out": ("no key can be used now", "сейчас ни один ключ не годится"),
    "decision.no-keys": ("there are no keys", "ключей нет"),
}
