"""`kmi health`."""

MESSAGES = {
    "health.key": ("key", "ключ"),
    "health.status": ("status", "состояние"),
    "health.quota": ("quota left", "остаток квоты"),
    "health.last-run": ("last run", "запуск"),
    "health.account": ("account", "аккаунт"),
    "health.active": ("active", "активный"),
    "health.unknown-quota": ("quota not known", "квота неизвестна"),
    "health.stale": ("past its reset", "сброс уже прошёл"),
    "health.resets-in": ("resets in {span}", "сброс через {span}"),
    "health.read": ("quota read {when}", "квота прочитана {when}"),
    "health.account-is": ("account {name}", "аккаунт {name}"),
    "health.ran": ("last run {when}", "запуск: {when}"),
    "health.group": (
        "{count} keys, 1 account ({name}: {labels}): they share their limits; "
        "changing between them gains nothing",
        "ключей: {count}, аккаунт один ({name}: {labels}): лимиты общие, "
        "смена между ними ничего не даст",
    ),
    "health.counts": ("keys: {total}, usable: {usable}", "ключей: {total}, годных: {usable}"),
    "health.none": (
        "there is no key in {place} (`kmi keys add LABEL` adds one)",
        "в {place} нет ключей (`kmi keys add LABEL` добавит)",
    ),
    "health.failed": (
        "{label}: its quota could not be read: {error}; shown is what was read {when}",
        "{label}: не удалось прочитать квоту: {error}; показано прочитанное {when}",
    ),
    "health.failed-first": (
        "{label}: its quota could not be read: {error}; nothing was read before",
        "{label}: не удалось прочитать квоту: {error}; раньше она не читалась",
    ),
    "health.drift": (
        "{label}: part of the quota answer was not understood: {error}",
        "{label}: ответ о квоте понят не весь: {error}",
    ),
    "health.do-dead-key": (
        "{label}: check the key at {host}; then `kmi keys reset {label}`, "
        "or `kmi keys remove {label}`",
        "{label}: проверьте ключ на {host}; затем `kmi keys reset {label}` "
        "или `kmi keys remove {label}`",
    ),
    "health.do-banned": (
        "{label}: access was terminated. Write to the provider's support; kmi does not try again",
        "{label}: доступ закрыт. Напишите в поддержку провайдера; kmi больше не пробует",
    ),
    "health.do-payment": (
        "{label}: renew the plan or pay; then `kmi keys reset {label}`",
        "{label}: продлите подписку или оплатите; затем `kmi keys reset {label}`",
    ),
    "health.do-no-money": (
        "{label}: top up the account at {host}; then `kmi keys reset {label}`",
        "{label}: пополните счёт на {host}; затем `kmi keys reset {label}`",
    ),
    "health.do-unknown": (
        "{label}: {error}; `kmi keys check {label}` asks again",
        "{label}: {error}; `kmi keys check {label}` спросит снова",
    ),
    "health.all-out": (
        "no key can be used now; {label} is back {when} ({time})",
        "сейчас ни один ключ не годится; {label} вернётся {when} ({time})",
    ),
    "health.all-out-by-hand": (
        "no key can be used until one is put right",
        "ни один ключ не годится, пока его не исправить",
    ),
    "health.not-asked": (
        "{labels}: the quota is not known; `kmi health --refresh` asks for it",
        "{labels}: квота неизвестна; `kmi health --refresh` спросит",
    ),
    "health.not-allowed": (
        "{label}: its base URL is not allowed by KMI_UPSTREAM_ALLOWLIST",
        "{label}: KMI_UPSTREAM_ALLOWLIST не разрешает его адрес",
    ),
    "health.would-ask": ("would ask about {labels}", "спросил бы о {labels}"),
    "health.watching": (
        "every {seconds} s; Ctrl-C ends it",
        "каждые {seconds} с; Ctrl-C завершает",
    ),
}
