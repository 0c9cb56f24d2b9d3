"""What the checks of `kmi doctor` and `kmi config validate` find, and the cures."""

MESSAGES = {
    # kmi itself.
    "check.no-library": (
        "kmi is not installed whole: {names} is missing",
        "kmi установлен не полностью: нет {names}",
    ),
    "check.install-kmi": (
        "install kmi again, for instance: uv tool install --reinstall kmi",
        "установите kmi заново, например: uv tool install --reinstall kmi",
    ),
    "check.other-kmi": (
        "PATH has another kmi first: {first}, and this is {this}",
        "в PATH первым стоит другой kmi: {first}, а это {this}",
    ),
    "check.other-kmi-cure": (
        "put {folder} first in PATH, or remove the other one",
        "поставьте {folder} первым в PATH или удалите другой",
    ),
    # Settings.
    "check.settings": (
        "set: {count}, by default: {rest}",
        "задано: {count}, по умолчанию: {rest}",
    ),
    "check.setting": ("{name} from {origin}", "{name} из {origin}"),
    "check.writable": ("others can write it", "в него могут писать другие"),
    "check.token-open": (
        "others can read it, and it holds KMI_PROXY_TOKEN",
        "его могут читать другие, а в нём KMI_PROXY_TOKEN",
    ),
    # Keys.
    "check.no-key": ("there is no key in {place}", "в {place} нет ключей"),
    "check.keys": ("{count} in {place}", "всего {count} в {place}"),
    "check.usable": ("usable now: {count}", "годных сейчас: {count}"),
    "check.none-usable": (
        "no key can be used now, as far as is known",
        "насколько известно, сейчас ни один ключ не годится",
    ),
    "check.open": (
        "others have rights to it (mode {mode})",
        "у других есть права на него (режим {mode})",
    ),
    # State.
    "check.no-state": ("nothing is remembered yet", "пока ничего не записано"),
    "check.state": ("readable, schema {schema}", "читается, схема {schema}"),
    "check.unreadable": ("can't be read: {why}", "не читается: {why}"),
    "check.newer": (
        "has schema {found}, this kmi knows up to {known}; it is not touched",
        "схема {found}, этот kmi знает до {known}; файл не тронут",
    ),
    "check.update": ("update kmi", "обновите kmi"),
    "check.state-damaged": (
        "is damaged ({why}): what kmi knew of quotas and blocks is lost",
        "повреждён ({why}): сведения о квотах и блокировках потеряны",
    ),
    "check.decisions-damaged": (
        "is damaged ({why}): no project's .kmi.toml can count; when it is set aside, "
        "each has to be allowed again",
        "повреждён ({why}): ни один .kmi.toml проекта не действует; "
        "после замены каждый надо разрешить снова",
    ),
    "check.decisions": ("decisions on .kmi.toml: {count}", "решений о .kmi.toml: {count}"),
    "check.lock-free": ("the lock is free", "блокировка свободна"),
    "check.lock-kind": (
        "is not a regular file, so kmi can't lock anything",
        "не обычный файл, поэтому kmi не может взять блокировку",
    ),
    "check.lock-fails": ("can't be locked: {why}", "блокировка не удаётся: {why}"),
    "check.lock-fails-cure": (
        "correct its owner and mode, or set KMI_STATE_DIR to a directory on a local disk",
        "исправьте владельца и права или задайте KMI_STATE_DIR на локальном диске",
    ),
    "check.lock-held": (
        "{who} holds the lock, and has lived for {span}; runs wait for it",
        "блокировку держит {who}, процессу {span}; запуски ждут его",
    ),
    "check.lock-stopped": (
        "{who} holds the lock, and is stopped (it has lived for {span}); no run can start",
        "блокировку держит {who}, процесс остановлен (ему {span}); запуски невозможны",
    ),
    "check.lock-held-unknown": (
        "another process holds the lock; runs wait for it",
        "блокировку держит другой процесс; запуски ждут его",
    ),
    "check.clock-fine": ("no time is in the future", "времён в будущем нет"),
    "check.clock-behind": (
        "the clock is {span} behind the day on which kmi was installed",
        "часы отстают от дня установки kmi на {span}",
    ),
    "check.state-ahead": (
        "holds times that are {span} in the future, so the clock is or was wrong",
        "в нём время из будущего (на {span}): часы неверны или были неверны",
    ),
    "check.state-ahead-cure": (
        "compare `date` with a watch; if it is right: kmi keys reset && kmi health --refresh",
        "сверьте `date` с часами; если верно: kmi keys reset && kmi health --refresh",
    ),
    "check.held-long": (
        "{label} is held for {span} yet, longer than any quota window",
        "{label} не используется ещё {span}, дольше любого окна квоты",
    ),
    "check.reset-far": (
        "{label}: a quota is to reset in {span}, longer than any quota window",
        "{label}: сброс квоты через {span}, дольше любого окна квоты",
    ),
    "check.file-ahead": (
        "was changed {span} in the future, as its time has it",
        "судя по времени, изменён в будущем (через {span})",
    ),
    # The project.
    "check.no-binding": ("no .kmi.toml binds this directory", "здесь нет .kmi.toml"),
    "check.binding-missing": (
        "names {labels}, which no key here is called",
        "в нём {labels}, но такого ключа здесь нет",
    ),
    "check.binding-cure": (
        "kmi keys add {label}, or take the label out",
        "kmi keys add {label}, или уберите метку",
    ),
    # Clients.
    "check.config": ("{client}'s config holds {label}", "в конфиге {client} ключ {label}"),
    "check.config-foreign": (
        "{client}'s config holds no key of kmi's",
        "в конфиге {client} нет ключа kmi",
    ),
    "check.no-config": ("{client} has no config", "у {client} нет конфига"),
    "check.config-open": (
        "others can read it (mode {mode}), and it holds a key",
        "его могут читать другие (режим {mode}), а в нём ключ",
    ),
    "check.config-read-only": (
        "is read-only, so no key can be swapped in",
        "только для чтения, ключ не поставить",
    ),
    "check.two-credentials": (
        "provider {provider!r} has {fields}: Kimi Code refuses to start with more than one",
        "у провайдера {provider!r} есть {fields}: Kimi Code откажется работать больше чем с одним",
    ),
    "check.two-credentials-cure": (
        "keep one of {fields} and remove the others",
        "оставьте одно из {fields}, остальное удалите",
    ),
    "check.login": (
        "provider {provider!r} has an OAuth login, beside which no API key counts; "
        "kmi's runs get theirs apart from it",
        "у провайдера {provider!r} вход OAuth, при нём ключ API не действует; "
        "запуски kmi получают ключ отдельно",
    ),
    "check.login-beats": (
        "provider {provider!r} has an OAuth login and an api_key: the client ignores the key",
        "у провайдера {provider!r} вход OAuth и api_key: клиент не смотрит на ключ",
    ),
    "check.link": (
        "is a link to {target}; Kimi Code puts a file in its place at its next write, "
        "and from then on the two differ",
        "ссылка на {target}; Kimi Code при записи заменит её файлом, и они разойдутся",
    ),
    "check.link-fine": (
        "{client}: the config is a link to {target}",
        "{client}: конфиг это ссылка на {target}",
    ),
    "check.hard-link": (
        "has {count} hard links; a swap changes this one only",
        "жёстких ссылок: {count}; смена ключа изменит только эту",
    ),
    "check.not-on-path": ("{name} is not on PATH", "в PATH нет {name}"),
    "check.gone": ("{path} does not exist", "{path} не существует"),
    "check.no-interpreter": (
        "can't be started: {why}, and it is what its first line names",
        "не запустится: {why}, а это указано в первой строке",
    ),
    "check.install-again": ("install that client again", "установите этот клиент заново"),
    "check.old-node": (
        "is Node {version}, and Kimi Code needs {needed} or newer",
        "это Node {version}, а Kimi Code нужен {needed} или новее",
    ),
    "check.update-node": ("install Node {needed} or newer", "установите Node {needed} или новее"),
    "check.exported": (
        "{names}: exported, so that a plain {client} does not use the key that kmi swaps in "
        "(`kmi run` unsets it)",
        "{names}: экспортировано, и {client} без kmi не возьмёт поставленный ключ "
        "(`kmi run` это убирает)",
    ),
    "check.exported-openai": (
        "{names}: exported, and {client} prefers it for this kind of provider",
        "{names}: экспортировано, и {client} предпочтёт это для такого провайдера",
    ),
    "check.share-tilde": (
        "KIMI_SHARE_DIR={value}: kimi-cli does not expand the ~",
        "KIMI_SHARE_DIR={value}: kimi-cli не раскрывает ~",
    ),
    "check.share-relative": (
        "KIMI_SHARE_DIR={value}: kimi-cli has another home in each directory",
        "KIMI_SHARE_DIR={value}: у kimi-cli в каждом каталоге свой дом",
    ),
    # Files.
    "check.no-files": ("{place} does not exist yet", "{place} пока не существует"),
    "check.private": (
        "{count} in {place}, all private",
        "всего {count} в {place}, доступ только у вас",
    ),
    "check.open-many": (
        "others have rights to {count} files and directories of kmi's: {names}",
        "у других есть права на файлы и каталоги kmi ({count}): {names}",
    ),
    "check.not-mine": (
        "{count} files and directories belong to another user: {names}",
        "файлы и каталоги другого пользователя ({count}): {names}",
    ),
    "check.parent-open": (
        "others can write here, so they can replace what kmi keeps below it",
        "сюда могут писать другие и могут подменить то, что kmi хранит внутри",
    ),
    "check.parent-foreign": (
        "belongs to another user, who can replace what kmi keeps below it",
        "принадлежит другому пользователю, он может подменить то, что kmi хранит внутри",
    ),
    "check.temporary": (
        "was left behind by a killed kmi; it may hold a key",
        "остался от прерванного kmi; в нём может быть ключ",
    ),
    "check.strangers": (
        "not kmi's own, and left alone: {names}",
        "не из файлов kmi, оставлено как есть: {names}",
    ),
    "check.pins-old": (
        "private configs of runs that ended long ago: {count}; each holds a key",
        "личные конфиги давно завершённых запусков: {count}; в каждом ключ",
    ),
    "check.pins-fresh": (
        "private configs of ended runs: {count}; the next run removes them",
        "личные конфиги завершённых запусков: {count}; следующий запуск их удалит",
    ),
    "check.pin-kept": (
        "holds what a client made in its private home, and could not go back: {names}",
        "в нём то, что клиент создал в личном доме, и что не вернуть: {names}",
    ),
    "check.pin-strange": ("is nothing that kmi made", "создано не kmi"),
    "check.backups": (
        "{count} backups of {client}'s config, and {kept} are kept",
        "копий конфига {client}: {count}, а хранится {kept}",
    ),
    "check.backups-cure": (
        "the next swap removes all but the newest {kept}; see `kmi backups`",
        "следующая смена ключа оставит {kept} новейших; смотрите `kmi backups`",
    ),
    "check.backups-fine": (
        "backups of {client}'s config: {count}",
        "копий конфига {client}: {count}",
    ),
    "check.set-aside": (
        "{count} damaged, kept for you: {names}",
        "повреждённых, сохранены для вас: {count} ({names})",
    ),
    "check.read-only": (
        "the disk is read-only, so no key can be swapped in",
        "диск только для чтения, ключ не поставить",
    ),
    "check.read-only-cure": (
        "mount it for writing, or set KMI_STATE_DIR and KMI_WRITE_CONFIG=0",
        "смонтируйте его для записи или задайте KMI_STATE_DIR и KMI_WRITE_CONFIG=0",
    ),
    "check.full": ("the disk is full ({free} free)", "диск полон (свободно {free})"),
    "check.nearly-full": (
        "the disk is nearly full ({free} free)",
        "диск почти полон (свободно {free})",
    ),
    "check.no-inodes": (
        "the disk has no room for more files, though {free} are free",
        "на диске нет места для новых файлов, хотя свободно {free}",
    ),
    "check.room": ("free on the disk: {free}", "свободно на диске: {free}"),
    "check.not-writable": ("you have no right to write here", "у вас нет права сюда писать"),
    # Shells.
    "check.shell-unknown": (
        "SHELL names {name}, which kmi has nothing for",
        "SHELL называет {name}, для неё у kmi ничего нет",
    ),
    "check.shell-unset": (
        "SHELL is not set, so the line of `kmi init` is not looked for",
        "SHELL не задана, строка `kmi init` не ищется",
    ),
    "check.no-hook": (
        "not set up in {name}; this line in {path} does it: {line}",
        "не настроена в {name}; это сделает строка в {path}: {line}",
    ),
    "check.hook": ("{name} is set up in {path}", "{name} настроена в {path}"),
    "check.hook-other": (
        "sets up {named}, but this is a start file of {name}",
        "настраивает {named}, а это файл запуска {name}",
    ),
    "check.write-line": ("write there: {line}", "напишите там: {line}"),
    "check.hook-no-kmi": (
        "starts {command}, which is not there",
        "запускает {command}, которого нет",
    ),
    "check.hook-no-kmi-cure": (
        "put the directory of kmi on PATH, before that line",
        "добавьте каталог kmi в PATH перед этой строкой",
    ),
    "check.starship": (
        "starship is set up before kmi, so the key stays out of its prompt",
        "starship настроен раньше kmi, ключа не будет в приглашении",
    ),
    "check.starship-cure": (
        "move the line of starship below that of kmi",
        "перенесите строку starship ниже строки kmi",
    ),
    "check.script-old": (
        "{path} was written by another version of kmi, or edited",
        "{path} записан другой версией kmi или изменён",
    ),
    "check.script-no-kmi": (
        "{path} starts {kmi}, which does not exist",
        "{path} запускает {kmi}, которого нет",
    ),
    "check.completion-old": (
        "was written by another version of kmi, or edited",
        "записан другой версией kmi или изменён",
    ),
    "check.small-files": (
        "prompts and TAB read what is old: {names}",
        "приглашения и TAB читают устаревшее: {names}",
    ),
    "check.small-files-fine": (
        "what prompts and TAB read is up to date",
        "приглашения и TAB читают свежее",
    ),
    # The proxy.
    "check.no-proxy": ("not running", "не запущен"),
    "check.proxy-runs": (
        "running at {address}, process {pid}",
        "работает на {address}, процесс {pid}",
    ),
    "check.proxy-silent": (
        "a proxy runs, but its record can't be read",
        "прокси работает, но его запись не читается",
    ),
    "check.proxy-old": (
        "it is of kmi {version}, and this is {this}",
        "он от kmi {version}, а это {this}",
    ),
    "check.proxy-stale": (
        "is left of a proxy that is gone",
        "остался от прокси, которого больше нет",
    ),
}
