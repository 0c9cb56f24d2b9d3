"""The pages of `kmi doctor` and `kmi config validate`; what they find is in `check`."""

MESSAGES = {
    # The page.
    "doctor.subject-kmi": ("kmi", "сам kmi"),
    "doctor.subject-settings": ("settings", "настройки"),
    "doctor.subject-keys": ("keys", "ключи"),
    "doctor.subject-state": ("state", "состояние"),
    "doctor.subject-project": ("project", "проект"),
    "doctor.subject-clients": ("clients", "клиенты"),
    "doctor.subject-files": ("files", "файлы"),
    "doctor.subject-shell": ("shell", "оболочка"),
    "doctor.subject-proxy": ("proxy", "прокси"),
    "doctor.error": ("error", "ошибка"),
    "doctor.environment": ("environment", "окружение"),
    "doctor.all-fine": ("everything is fine", "всё в порядке"),
    "doctor.all-valid": ("everything is valid", "всё верно"),
    "doctor.valid": ("valid, with warnings", "верно, но есть замечания"),
    "doctor.summary": (
        "errors: {errors}, warnings: {warnings}",
        "ошибок: {errors}, замечаний: {warnings}",
    ),
    "doctor.fixable": (
        "`kmi doctor --fix` cures {count}",
        "`kmi doctor --fix` исправит: {count}",
    ),
    "doctor.check-failed": (
        "the check {name!r} could not be made: {why}",
        "проверка {name!r} не удалась: {why}",
    ),
    "doctor.check-failed-cure": (
        "look at that file and the directory around it",
        "посмотрите на этот файл и его каталог",
    ),
    # The repairs.
    "doctor.plan": ("This is going to be done:", "Будет сделано:"),
    "doctor.go-on": ("Do it?", "Сделать?"),
    "doctor.nothing-to-fix": (
        "there is nothing here that kmi may put right by itself",
        "здесь нет ничего, что kmi может исправить сам",
    ),
    "doctor.settings-first": (
        "the settings have to be put right first: they say where kmi's files are; "
        "nothing was changed",
        "сначала исправьте настройки: от них зависит, где файлы kmi; ничего не изменено",
    ),
    "doctor.not-asked": (
        "nothing was changed: there is no terminal to ask on (say --yes to do it)",
        "ничего не изменено: спросить негде, нет терминала (--yes сделает без вопроса)",
    ),
    "doctor.declined": ("nothing was changed", "ничего не изменено"),
    "doctor.dry-run": ("dry run: nothing was changed", "пробный режим: ничего не изменено"),
    "doctor.done": ("put right: {count}", "исправлено: {count}"),
    "doctor.not-done": ("not done: {what} ({why})", "не сделано: {what} ({why})"),
    "doctor.fix-private": (
        "take all rights of others from {path}",
        "забрать у других все права на {path}",
    ),
    "doctor.fix-private-all": (
        "take all rights of others from {path} and from all that kmi keeps in it",
        "забрать у других все права на {path} и на всё, что kmi хранит внутри",
    ),
    "doctor.fix-unshared": (
        "take the right to write {path} from others",
        "забрать у других право писать в {path}",
    ),
    "doctor.fix-temporary": ("remove {path}", "удалить {path}"),
    "doctor.fix-pins": (
        "remove the private configs of ended runs in {path}",
        "удалить личные конфиги завершённых запусков в {path}",
    ),
    "doctor.fix-aside": (
        "rename {path} to {path}.corrupt-TIME; kmi begins anew without it",
        "переименовать {path} в {path}.corrupt-ВРЕМЯ; kmi начнёт без него заново",
    ),
    "doctor.fix-shell-files": (
        "write anew what prompts and TAB read in {path}",
        "записать заново то, что приглашения и TAB читают в {path}",
    ),
    "doctor.fix-proxy-record": (
        "remove {path}: that proxy is gone",
        "удалить {path}: этого прокси больше нет",
    ),
}
