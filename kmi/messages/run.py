"""`kmi run`."""

MESSAGES = {
    "run.asking-first": (
        "asking about the quota of {count} first (KMI_REQUIRE_USAGE_BEFORE_REQUEST=1)",
        "сначала запрос квоты, ключей: {count} (KMI_REQUIRE_USAGE_BEFORE_REQUEST=1)",
    ),
    "run.using": ("using {label}: {why}", "ключ {label}: {why}"),
    "run.using-once": ("using {label} for this run: {why}", "ключ {label} на этот запуск: {why}"),
    "run.inside": (
        "inside a run on {outer}; this one uses {label}",
        "внутри запуска с ключом {outer}; здесь {label}",
    ),
    "run.named-anyway": ("{label}: {why}", "{label}: {why}"),
    "run.beside": (
        "{problem}; this run gets {label} for itself ({fix})",
        "{problem}; этот запуск получает {label} отдельно ({fix})",
    ),
    "run.adopt-bound": (
        "--adopt has no effect: {path} binds this run",
        "--adopt не действует: запуск привязан файлом {path}",
    ),
    "run.adopt-question": (
        "{name} has an OAuth login, beside which an API key has no effect.\n"
        "Add a provider of kmi's own and make it the default? (`kmi undo` takes it back)",
        "В {name} вход OAuth, при нём ключ API не действует.\n"
        "Добавить провайдера kmi и сделать его основным? (`kmi undo` вернёт)",
    ),
    "run.own-config": (
        "the config given on the command line decides about the key, not {label}",
        "ключ определяет конфиг из командной строки, а не {label}",
    ),
    "run.exported": (
        "{name} is exported and would replace the key {label}; it is unset for this run",
        "переменная {name} заменила бы ключ {label}; для этого запуска она убрана",
    ),
    "run.would-use-once": (
        "would use {label} for this run only: {why}",
        "взял бы {label} только на этот запуск: {why}",
    ),
    "run.would-start": ("would start {path}", "запустил бы {path}"),
    "run.detail": ("{label} ({mode}): {why}", "{label} ({mode}): {why}"),
    "run.reset-hint": (
        "`kmi keys reset` clears a block, `kmi keys enable` brings a disabled key back, "
        "`kmi keys check` asks upstream",
        "`kmi keys reset` снимет блокировку, `kmi keys enable` вернёт выключенный ключ, "
        "`kmi keys check` спросит сервер",
    ),
    "run.first-back": (
        "the first is back in {span} ({time})",
        "первый вернётся через {span} ({time})",
    ),
    "run.and-more": ("; and {count} more", "; и ещё {count}"),
}
