"""What is wrong with a file, whatever it is for."""

RUSSIAN = {
    "check its owner and mode": "проверьте владельца и права",
    "check the disk, its owner and mode": "проверьте диск, владельца и права",
    "can't read {path}: {error}": "не удалось прочитать {path}: {error}",
    "can't be read: {error}": "его не удалось прочитать: {error}",
    "can't write {path}: {error}": "не удалось записать {path}: {error}",
    "{path} is larger than {limit} KiB, the most that kmi reads": (
        "{path} больше {limit} КиБ: столько kmi не читает"
    ),
    "is larger than {limit} KiB, the most that kmi reads": (
        "он больше {limit} КиБ: столько kmi не читает"
    ),
    "{path} is a symbolic link": "{path}: это символическая ссылка",
    "is a symbolic link": "это символическая ссылка",
    "put the file itself there": "положите туда сам файл",
    "{path} is not a regular file": "{path}: это не обычный файл",
    "is not a regular file": "это не обычный файл",
    "put a regular file there": "положите туда обычный файл",
    "{path} is not UTF-8 text": "{path}: это не текст UTF-8",
    "is not UTF-8 text": "это не текст UTF-8",
    "save it as UTF-8": "сохраните в UTF-8",
    "is not valid TOML": "это не правильный TOML",
    "correct that line": "исправьте эту строку",
    "correct it": "исправьте его",
    "correct it; nothing was changed": "исправьте его; ничего не изменено",
    "run: chmod 600 {path}": "выполните: chmod 600 {path}",
    "{path} has schema {found}, this kmi knows up to {known}": (
        "у {path} схема {found}, этот kmi знает не выше {known}"
    ),
    "there is no directory {path}": "нет каталога {path}",
    "name another one": "назовите другой",
    "there is nothing of kmi-manager-cli in {path}": "в {path} нет ничего от kmi-manager-cli",
    "name the directory that holds its .env, its _auths or its state.json": (
        "назовите каталог, где его .env, его _auths или его state.json"
    ),
    "can't make {path}: {error}": "не удалось создать {path}: {error}",
    "{path} is there already": "{path} уже есть",
    "say it again": "повторите команду",
    "update kmi; the file was not touched": "обновите kmi; файл не тронут",
}
