"""What is wrong with a client's config, or with the program that is to be run."""

RUSSIAN = {
    # The config on disk.
    "{path} is a link that leads nowhere ({target})": "{path}: ссылка в никуда ({target})",
    "{name} is not the name of a backup": "{name}: копии с таким именем нет",
    "there is no backup {name}": "нет копии {name}",
    "see `kmi backups`": "см. `kmi backups`",
    "can't read the backup {name}: {error}": "не удалось прочитать копию {name}: {error}",
    "correct the link, or remove it": "исправьте ссылку или уберите её",
    "kmi edits only files of your own": "kmi правит только ваши файлы",
    "{path} can be read by others, and its mode can't be changed ({error})": (
        "{path} могут читать другие, и права не изменить ({error})"
    ),
    "{path} is read-only": "{path} закрыт для записи",
    "run: chmod u+w {path}": "выполните: chmod u+w {path}",
    "can't write {path}: {error}; it was not changed": (
        "не удалось записать {path}: {error}; он не изменён"
    ),
    "check the disk, and the owner and mode of its directory": (
        "проверьте диск, владельца и права каталога"
    ),
    "can't keep a backup in {folder}: {error}; {path} was not changed": (
        "не удалось сохранить копию в {folder}: {error}; {path} не изменён"
    ),
    "check the disk and the state directory": "проверьте диск и каталог состояния",
    "{client}'s config changed {count} times while kmi was editing it": (
        "конфиг {client} менялся {count} раз, пока kmi его правил"
    ),
    "close the editor or client that writes it, and try again": (
        "закройте редактор или клиент, который его пишет, и повторите"
    ),
    "{path} has {count} hard links; the others keep the old content": (
        "у {path} жёстких ссылок: {count}; у других останется прежнее"
    ),
    "{path} could be read by others; it is 0600 now": "{path} могли читать другие; теперь 0600",
    # What is in it.
    "{path} is larger than {limit} KiB, the most that kmi edits": (
        "{path} больше {limit} КиБ: столько kmi не правит"
    ),
    "move what does not belong into it elsewhere": "перенесите лишнее в другое место",
    "{place}: not valid TOML": "{place}: неправильный TOML",
    "{path} is not valid TOML": "{path}: это не правильный TOML",
    "correct that line; nothing was changed": "исправьте эту строку; ничего не изменено",
    "{path}: default_model names {alias}, which is not in [models]": (
        "{path}: default_model называет {alias}, а в [models] его нет"
    ),
    "add that model, or correct default_model": "добавьте модель или исправьте default_model",
    "{path}: model {alias} names the provider {provider}, which is not there": (
        "{path}: модель {alias} называет провайдера {provider}, а его нет"
    ),
    "add that provider, or correct the model": "добавьте провайдера или исправьте модель",
    "{path}: {name} is not a string": "{path}: {name} не строка",
    "{path}: {name} is not a set of tables": "{path}: {name} не набор таблиц",
    "write [{name}.NAME]; nothing was changed": "напишите [{name}.NAME]; ничего не изменено",
    "{path} can't be edited safely ({why}); nothing was changed": (
        "{path} нельзя править безопасно ({why}); ничего не изменено"
    ),
    "write api_key on a line of its own below [providers.NAME], and report this file's layout": (
        "напишите api_key отдельной строкой под [providers.NAME] и сообщите, как устроен файл"
    ),
    "the edit would have changed other values": "правка изменила бы другие значения",
    "the edit would have changed other lines": "правка изменила бы другие строки",
    "{path} has no default model, so there is no provider to put a key into": (
        "в {path} нет модели по умолчанию, и ключ вписать некуда"
    ),
    "run with --adopt to let kmi add a provider and a model": (
        "с --adopt kmi добавит провайдера и модель"
    ),
    "{path} has an OAuth login (provider {provider}), beside which an API key has no effect": (
        "в {path} вход OAuth (провайдер {provider}), при нём ключ API не действует"
    ),
    "run with --adopt to let kmi add a provider of its own beside it": (
        "с --adopt kmi добавит рядом своего провайдера"
    ),
    "{path}: provider {provider} takes its key from the variable {variable}, not from the file": (
        "{path}: провайдер {provider} берёт ключ из переменной {variable}, а не из файла"
    ),
    "remove api_key_env, or use `kmi run`, which sets the variable": (
        "уберите api_key_env, или запускайте через `kmi run`: он задаёт переменную"
    ),
    "{path}: the provider {provider} behind default_model is of type {type}, not a Kimi provider": (
        "{path}: провайдер {provider} за default_model типа {type}, это не Kimi"
    ),
    "point default_model at a Kimi model, or run with --adopt to let kmi add one": (
        "укажите в default_model модель Kimi, или с --adopt kmi добавит свою"
    ),
    # The program.
    "{name} does not exist": "{name} не существует",
    "{name} is not on PATH": "{name}: нет в PATH",
    "check the spelling and PATH": "проверьте имя и PATH",
    "install Kimi Code: npm install -g @moonshot-ai/kimi-code": (
        "установите Kimi Code: npm install -g @moonshot-ai/kimi-code"
    ),
    "{path} can't be executed": "{path} нельзя запустить",
    "check the file and its mode": "проверьте файл и права",
    "can't execute {path}: {error}": "не удалось запустить {path}: {error}",
    "check the file and its first line": "проверьте файл и его первую строку",
    "{path} is {client}, and {wanted} was asked for": "{path} это {client}, а нужен {wanted}",
    "install {wanted}, or use --client {client}": (
        "установите {wanted} или возьмите --client {client}"
    ),
    "{path} is kimi-cli {version}, which no longer works: it only prints a notice, "
    "and may run an installer; it was not started": (
        "{path} это kimi-cli {version}, который больше не работает: он лишь печатает объявление "
        "и может запустить установщик; он не запущен"
    ),
    "install Kimi Code (npm install -g @moonshot-ai/kimi-code), "
    "or go back: pip install 'kimi-cli<1.52'": (
        "установите Kimi Code (npm install -g @moonshot-ai/kimi-code) "
        "или вернитесь: pip install 'kimi-cli<1.52'"
    ),
    "`kmi run` is nested {depth} deep: the program on PATH calls kmi again": (
        "`kmi run` вложен {depth} раз: программа из PATH снова вызывает kmi"
    ),
    "name the client by its full path": "укажите полный путь клиента",
}
