"""`kmi config migrate`: what is taken over, what is not, and why."""

MESSAGES = {
    "migrate.nothing": (
        "there is nothing to take over: kmi's own files are of today's schema {schema}",
        "переносить нечего: собственные файлы kmi уже в нынешней схеме {schema}",
    ),
    "migrate.plan": ("This is going to be done:", "Будет сделано:"),
    "migrate.go-on": ("Do it?", "Сделать?"),
    "migrate.own": (
        "make {path} of schema {before} into one of schema {after}; it is kept as it was",
        "перевести {path} из схемы {before} в схему {after}; прежний файл сохранится",
    ),
    "migrate.key": ("copy {source} to {target} ({labels})",
                    "скопировать {source} в {target} ({labels})"),
    "migrate.aside": (
        "use what was kept aside of {labels}, now that there are keys for it",
        "учесть отложенное о {labels}: теперь для этого есть ключи",
    ),
    "migrate.state": (
        "take over from {path} when {labels} were used, and until when they are out",
        "взять из {path}, когда использовались {labels} и до какого времени они недоступны",
    ),
    "migrate.setting": ("write {line} into {path}", "записать {line} в {path}"),
    "migrate.left": ("Not taken over:", "Не переносится:"),
    "migrate.environment-wins": (
        "the environment wins over the env file, also where kmi-manager-cli had it the other way "
        "round",
        "окружение важнее файла настроек, даже там, где в kmi-manager-cli было наоборот",
    ),
    "migrate.live": (
        "kmi-manager-cli made a dry run unless KMI_DRY_RUN=0; kmi writes the client's config "
        "unless KMI_DRY_RUN=1: write that into {path} if you want to see first what it does",
        "kmi-manager-cli без KMI_DRY_RUN=0 работал в пробном режиме; kmi пишет в конфиг клиента, "
        "пока нет KMI_DRY_RUN=1: впишите это в {path}, если хотите сначала посмотреть",
    ),
    "migrate.dry": (
        "KMI_DRY_RUN=1 is taken over: kmi shows what it would do, and does nothing, until you take "
        "it away",
        "KMI_DRY_RUN=1 переносится: kmi будет показывать, что сделал бы, и ничего не делать, пока "
        "вы это не уберёте",
    ),
    "migrate.rotating": (
        "`rotate auto` was on there; here `kmi rotate auto` turns it on",
        "там был включён `rotate auto`; здесь его включает `kmi rotate auto`",
    ),
    "migrate.stays": (
        "nothing is removed: kmi-manager-cli's own files stay where they are",
        "ничего не удаляется: файлы kmi-manager-cli остаются на месте",
    ),
    "migrate.dry-run": ("dry run: nothing was changed", "пробный режим: ничего не изменено"),
    "migrate.not-asked": (
        "nothing was changed: there is no terminal to ask on (say --yes to do it)",
        "ничего не изменено: спросить негде, нет терминала (--yes сделает без вопроса)",
    ),
    "migrate.declined": ("nothing was changed", "ничего не изменено"),
    "migrate.done": (
        "taken over: keys {keys}, settings {settings}, what was known of keys {states}",
        "перенесено: ключей {keys}, настроек {settings}, сведений о ключах {states}",
    ),
    "migrate.kept": ("{path} is kept as {copy}", "прежний {path} сохранён как {copy}"),
    "migrate.not-secret": ("(set, not shown)", "(задан, не показывается)"),
    # Why something is left.
    "migrate.why-gone": ("kmi has nothing like it", "в kmi такого нет"),
    "migrate.why-email": (
        "it belongs into the file of its key, as KMI_ACCOUNT_EMAIL",
        "это место в файле ключа, под именем KMI_ACCOUNT_EMAIL",
    ),
    "migrate.why-attempts": (
        "here it counts attempts, not repetitions; without it every key is tried once, and one "
        "twice",
        "здесь это число попыток, а не повторов; без него каждый ключ пробуют раз, один дважды",
    ),
    "migrate.why-place": (
        "the files themselves are taken over; where kmi keeps its own stays as it is",
        "переносятся сами файлы; где kmi хранит свои, не меняется",
    ),
    "migrate.why-auth-file": ("it belongs into an auth file", "её место в файле ключа"),
    "migrate.why-unknown": ("kmi has no such setting", "в kmi нет такой настройки"),
    "migrate.why-invalid": (
        "kmi does not take its value ({allowed})",
        "kmi не принимает её значение ({allowed})",
    ),
    "migrate.why-token": (
        "it is shorter than 32 characters, or has others than printable ones; kmi makes one",
        "он короче 32 знаков или с непечатными знаками; kmi создаст свой",
    ),
    "migrate.why-set": ("it is set here already ({origin})", "здесь она уже задана ({origin})"),
    "migrate.why-safety": (
        "it takes a protection away; if you mean it, write {line} into {path}",
        "она снимает защиту; если это нужно, впишите {line} в {path}",
    ),
    "migrate.why-elsewhere": (
        "keys that kmi has already and that name no base URL would go to {url}; write it into the "
        "files of the keys that it is for",
        "ключи без своего адреса, которые уже есть в kmi, ушли бы на {url}; впишите его в файлы "
        "тех ключей, для которых он нужен",
    ),
    "migrate.why-no-url": (
        "it names no base URL, and its key would be sent to another one here; write {line} into it",
        "в нём нет адреса, и здесь ключ ушёл бы на другой; впишите в него {line}",
    ),
    "migrate.why-same-key": (
        "kmi has this key already, as {label} in {path}",
        "этот ключ в kmi уже есть: {label} в {path}",
    ),
    "migrate.why-label": (
        "the label {label} belongs to another key, in {path}; give it another one",
        "имя {label} у другого ключа, в {path}; дайте этому другое",
    ),
    "migrate.why-there": (
        "{path} is there already, with another key; rename one of the two",
        "{path} уже есть, с другим ключом; переименуйте один из них",
    ),
    "migrate.why-bak": (
        "kmi reads no .bak files but .json.bak; rename it if you want its key",
        "kmi не читает .bak, кроме .json.bak; переименуйте файл, если его ключ нужен",
    ),
    "migrate.why-unreadable": (
        "it can't be read, or is no state at all",
        "его не прочитать, или это не файл состояния",
    ),
    "migrate.why-not-old": (
        "it is a state of kmi's own, which KMI_STATE_DIR would use as it is",
        "это собственное состояние kmi: KMI_STATE_DIR использует его как есть",
    ),
    "migrate.why-no-key": (
        "there is no key of that label",
        "нет ключа с таким именем",
    ),
}  # fmt: skip
