"""What is wrong with usage, and with the session logs that it is read from."""

RUSSIAN = {
    "{path} is larger than {limit} GiB, so it is not read": (
        "{path} больше {limit} ГиБ, поэтому он не читается"
    ),
    "{path} is not inside of {root}, so it is not read": (
        "{path} лежит не внутри {root}, поэтому он не читается"
    ),
    "another kmi holds {path}": "файл {path} занят другим kmi",
    "try again in a moment": "повторите чуть позже",
    "can't use {path}: {error}": "не удалось открыть {path}: {error}",
    "{path} can't be used: {error}": "{path} не годится: {error}",
    "move it away": "уберите его оттуда",
    "{path} exists, and is no page of `kmi usage`": "{path} уже есть, это не страница `kmi usage`",
    "name another file, or remove that one": "назовите другой файл или уберите этот",
    "name another file": "назовите другой файл",
    "{path} can't be read: {error}": "{path} не удалось прочитать: {error}",
    "`kmi usage` sets it aside": "`kmi usage` отложит его в сторону",
}
