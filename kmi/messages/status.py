"""`kmi status` and `kmi current`."""

MESSAGES = {
    "status.no-key": ("no key", "нет ключа"),
    "status.as-swapped": ("as swapped in", "как поставил kmi"),
    "status.client": ("{client}: {label} ({why})", "{client}: {label} ({why})"),
    "status.missing": ("{path} does not exist", "{path} не существует"),
    "status.login": (
        "{path} has an OAuth login, which decides",
        "в {path} вход OAuth, он решает",
    ),
    "status.keyless": ("{path} holds no API key", "в {path} нет ключа API"),
    "status.foreign": (
        "{path} holds a key that is none of kmi's",
        "в {path} ключ, которого kmi не знает",
    ),
    "status.foreign-after": (
        "{path} holds a key that is none of kmi's; kmi had put {before} there",
        "в {path} ключ, которого kmi не знает; kmi ставил {before}",
    ),
    "status.other": (
        "{path} holds {label}, kmi had put {before} there",
        "в {path} {label}, kmi ставил {before}",
    ),
    "status.strategy": (
        "strategy {strategy}, keys in {place}",
        "стратегия {strategy}, ключи в {place}",
    ),
    "status.auto": (
        "automatic rotation is on since {time} (`kmi rotate off` ends it)",
        "автоматическая смена включена с {time} (`kmi rotate off` выключит)",
    ),
    "status.auto-barred": (
        "automatic rotation was turned on, but KMI_AUTO_ROTATE_ALLOWED=0 keeps it off",
        "автоматическая смена включена, но её запрещает KMI_AUTO_ROTATE_ALLOWED=0",
    ),
    "status.refreshed": ("quotas were read {when}", "квоты прочитаны {when}"),
    "status.proxy": (
        "the proxy runs at {address} (process {pid})",
        "прокси работает на {address} (процесс {pid})",
    ),
    "status.left": ("left", "остаток"),
    "status.adopt-hint": (
        "(runs get a key beside it; `kmi use LABEL --adopt` puts one into the config, too)",
        "(запуски получают ключ помимо него; `kmi use LABEL --adopt` поставит ключ и в конфиг)",
    ),
    "status.swap-hint": ("(`kmi use LABEL` swaps a key in)", "(`kmi use LABEL` поставит ключ)"),
}
