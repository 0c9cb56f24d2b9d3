"""Why a key is picked, why another one is not, and what a status means."""

from kmi.messages.reason import MESSAGES as REASONS

RUSSIAN = {
    # Why it is picked.
    "it is the first usable key of {path}": "он первый годный из {path}",
    "no key of {path} can be used; {reason}": "ни один ключ из {path} не годится; {reason}",
    "the project's binding": "привязка проекта",
    "it is the active key, and still usable": "это активный ключ, и он ещё годится",
    "the active key can't be used; {reason}": "активный ключ не годится; {reason}",
    "it is the only usable key": "это единственный годный ключ",
    "it is the best by status and quota ({share})": "он лучший по состоянию и квоте ({share})",
    "it is the next usable key in order": "он следующий годный по порядку",
    "it was used least recently ({when})": "он дольше всех не использовался ({when})",
    "of the keys with room it was used least recently ({when})": (
        "из ключей с запасом он дольше всех не использовался ({when})"
    ),
    "no key has much room, and it was used least recently ({when})": (
        "запаса нет ни у одного, а он дольше всех не использовался ({when})"
    ),
    "{span} ago": "{span} назад",
    "never": "никогда",
    "its unused quota is lost first, in {span}": (
        "его неиспользованная квота сгорит первой, через {span}"
    ),
    "no reset is known; {reason}": "ни один сброс не известен; {reason}",
    "it is already the best key": "он и так лучший",
    "it ties for best, and KMI_ROTATE_ON_TIE=0 keeps it": (
        "лучших несколько, он среди них, и KMI_ROTATE_ON_TIE=0 оставляет его"
    ),
    "{count} keys tie for best; it is next": "лучших ключей: {count}; он следующий",
    "it was named": "его назвали",
    "it was named, although it is {doubt}": "его назвали, хотя он не годится ({doubt})",
    "it was named, yet {doubt}": "его назвали, хотя {doubt}",
    "every key is out; it may be back, and is tried once": (
        "все ключи недоступны; этот мог вернуться, одна попытка"
    ),
    "no key can be used now": "сейчас ни один ключ не годится",
    "there are no keys": "ключей нет",
    "there is no key {text}": "нет ключа {text}",
    "{label} was named, but: {doubt}": "назван {label}, но он не годится ({doubt})",
    # Why it is not.
    "{label} was named": "назван {label}",
    "not allowed by {path}": "не разрешён файлом {path}",
    "disabled in {path}": "отключён в {path}",
    "its usage is not known yet, and that is required": "его квота ещё неизвестна, а она нужна",
    "its usage was last read {span} ago, which is too old": (
        "его квота читалась слишком давно: {span} назад"
    ),
    "its usage could not be read: {error}": "его квоту не удалось прочитать: {error}",
    "its base URL {url} is not allowed by KMI_UPSTREAM_ALLOWLIST": (
        "его адрес {url} не разрешён в KMI_UPSTREAM_ALLOWLIST"
    ),
    "its api_key_command failed": "его api_key_command не сработала",
    "usable, but {why}": "годится, но {why}",
    "{label} comes first": "{label} раньше",
    "{label} comes first in {path}": "{label} стоит раньше в {path}",
    "{label} is active (sticky)": "активен {label} (sticky)",
    "{label} is next in order": "следующий по порядку {label}",
    "it has status warn, and {label} has not": "у него мало остатка или есть ошибки, у {label} нет",
    "{label} was used longer ago": "{label} использовался раньше",
    "{label} has more room": "у {label} больше запас",
    "{label} resets earlier": "у {label} сброс раньше",
    "{label} has more quota left": "у {label} остаток больше",
    "{label} has fewer errors": "у {label} меньше ошибок",
    "{label} has a higher priority": "у {label} выше приоритет",
    # Statuses.
    "disabled": "отключён",
    "blocked": "заблокирован",
    "exhausted": "исчерпан",
    "{share} of its quota is left": "осталось {share} квоты",
    **dict(REASONS.values()),
    # `kmi use`, `kmi rotate`, and a strict binding.
    "see `kmi why`": "см. `kmi why`",
    "see `kmi why` and `kmi health`": "см. `kmi why` и `kmi health`",
    "change {path} and `kmi allow` it": "измените {path} и разрешите его: `kmi allow`",
    "{path} is strict and allows only {labels}, and none of them can be used now": (
        "{path} строгий и разрешает только {labels}, а из них сейчас ни один не годится"
    ),
    "{path} is strict and allows only {labels}, and there is no such key": (
        "{path} строгий и разрешает только {labels}, а такого ключа нет"
    ),
    "`kmi keys add {label}`, or {change}": "`kmi keys add {label}`, или {change}",
    "{fix}; or {change}": "{fix}; или {change}",
    "{label} is not allowed by {path}, which is strict": ("{label} не разрешён: {path} строгий"),
    "it allows {labels}: name one of them, or {change}": (
        "он разрешает {labels}: назовите один из них, или {change}"
    ),
    "KMI_WRITE_CONFIG=0 forbids to write the client's config": (
        "KMI_WRITE_CONFIG=0 запрещает менять конфиг клиента"
    ),
    "unset it ({origin}), or use `kmi run`, which pins": (
        "уберите её ({origin}), или запускайте через `kmi run`: ключ получит сам запуск"
    ),
    "KMI_AUTO_ROTATE_ALLOWED=0 ({origin}) forbids automatic rotation": (
        "KMI_AUTO_ROTATE_ALLOWED=0 ({origin}) запрещает автоматическую смену"
    ),
    "set KMI_AUTO_ROTATE_ALLOWED=1 in {path} or in the environment": (
        "поставьте KMI_AUTO_ROTATE_ALLOWED=1 в {path} или в окружении"
    ),
    "the rotation could not be proved: {why}": "смену ключей не удалось проверить: {why}",
    "try again when upstream is reachable": "повторите, когда сервер будет доступен",
    "a rotation needs {least} keys that work, and {count} did ({why})": (
        "для смены нужно рабочих ключей: {least}, работает: {count} ({why})"
    ),
    "a rotation needs {least} keys that work, and {count} did": (
        "для смены нужно рабочих ключей: {least}, работает: {count}"
    ),
    "no other key to change to": "нет другого ключа для смены",
    "the copy of the config does not hold the key": "в копии конфига нет этого ключа",
    "{message}; another key is used": "{message}; взят другой ключ",
    "{label} is not asked about: {why}": "{label} не опрошен: {why}",
}
