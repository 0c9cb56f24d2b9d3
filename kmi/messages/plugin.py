"""`kmi plugin`, what `kmi doctor` says of it, the status line, and `kmi run --retry`."""

MESSAGES = {
    # What is going to be done, and what was.
    "plugin.create": ("writes {path} (it is new)", "пишет {path} (новый файл)"),
    "plugin.change": ("changes {path}", "меняет {path}"),
    "plugin.remove": ("removes {path}", "удаляет {path}"),
    "plugin.installed": (
        "installed for {names}; it counts from the next start of the client",
        "установлено для {names}; действует со следующего запуска клиента",
    ),
    "plugin.uninstalled": ("taken out of {names}", "убрано из {names}"),
    "plugin.same-in": ("it is installed already", "уже установлено"),
    "plugin.same-out": ("nothing of it is installed", "ничего не установлено"),
    "plugin.status-theirs": (
        "{path} has a status line of yours, which stays",
        "в {path} своя строка состояния, она остаётся",
    ),
    "plugin.only-marks": (
        "failures are only noted: with KMI_AUTO_ROTATE_ALLOWED=1 the next key is swapped in, too",
        "отказы только запоминаются: с KMI_AUTO_ROTATE_ALLOWED=1 ставится и следующий ключ",
    ),
    "plugin.rotates": (
        "after a failure of its key a session that follows goes on with the next one",
        "после отказа ключа следующая за конфигом сессия продолжает со следующим",
    ),
    # `kmi plugin status`.
    "plugin.line": ("{client}: {state}", "{client}: {state}"),
    "plugin.is-in": ("installed", "установлено"),
    "plugin.is-out": ("not installed", "не установлено"),
    "plugin.is-partly": (
        "installed in part (`kmi plugin install` completes it)",
        "установлено не всё (`kmi plugin install` дополнит)",
    ),
    "plugin.lacks": ("missing: {what}", "не хватает: {what}"),
    "plugin.program-gone": ("its program is gone: {path}", "программы больше нет: {path}"),
    # `kmi doctor`.
    "plugin.fine": ("the hooks in {client} start this kmi", "хуки в {client} запускают этот kmi"),
    "plugin.moved": (
        "the hooks in {client} start {path}, which does not exist",
        "хуки в {client} запускают {path}, а его нет",
    ),
    "plugin.other": (
        "the hooks in {client} start another kmi, {program}",
        "хуки в {client} запускают другой kmi, {program}",
    ),
    "plugin.incomplete": (
        "kmi's parts in {client} are not complete, missing: {what}",
        "части kmi в {client} неполны, не хватает: {what}",
    ),
    "plugin.removed": (
        "kmi's hooks were taken out of {client} by hand",
        "хуки kmi убраны из {client} вручную",
    ),
    "plugin.repair": (
        "write kmi's hooks anew for {path}",
        "записать хуки kmi заново для {path}",
    ),
    # The status line.
    "plugin.line-none": ("kmi: no key yet", "kmi: ключа пока нет"),
    "plugin.line-left": (
        "{window} {share}% left until {time}",
        "{window}: осталось {share}% до {time}",
    ),
    "plugin.line-left-only": ("{window} {share}% left", "{window}: осталось {share}%"),
    "plugin.line-out": ("out until {time}", "недоступен до {time}"),
    "plugin.line-out-only": ("out", "недоступен"),
    "plugin.line-next": ("next {label}", "далее {label}"),
    "plugin.line-no-next": ("no other key", "другого ключа нет"),
    "plugin.line-first": ("first back {time}", "первый вернётся {time}"),
    # `kmi run --retry`.
    "plugin.again": (
        "{label} failed ({verdict}) before it answered; looking for another key",
        "{label}: отказ до ответа ({verdict}); ищу другой ключ",
    ),
    "plugin.not-again": (
        "not tried again: {why}",
        "второй попытки нет: {why}",
    ),
}
