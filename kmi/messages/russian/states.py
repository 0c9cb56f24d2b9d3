"""What is wrong with kmi's own files, and with their lock."""

RUSSIAN = {
    "{path} can't be read ({why}); it is kept as {aside}": (
        "{path} не читается ({why}); он сохранён как {aside}"
    ),
    "it is damaged": "он повреждён",
    "{path} can't be read; the next change sets it aside": (
        "{path} не читается; следующее изменение отложит его в сторону"
    ),
    "{path} was of schema {before} and is of schema {now} now; it is kept as {aside}": (
        "{path} был схемы {before}, теперь схемы {now}; прежний сохранён как {aside}"
    ),
    "{path} was open to others; its mode is tightened": (
        "{path} был открыт для других; права урезаны"
    ),
    "can't use the state directory {path}: {error}": (
        "каталог состояния {path} не годится: {error}"
    ),
    "correct its owner and mode, or set KMI_STATE_DIR": (
        "исправьте владельца и права или задайте KMI_STATE_DIR"
    ),
    "can't record this in {path}: {error}; what came before it is done": (
        "не удалось записать это в {path}: {error}; всё, что было до этого, сделано"
    ),
    "check the disk, the file's owner and its mode": "проверьте диск, владельца файла и его права",
    "another kmi": "другой kmi",
    "process {pid}": "процесс {pid}",
    "process {pid} ({name})": "процесс {pid} ({name})",
    "can't lock {path}: {error}": "не удалось заблокировать {path}: {error}",
    "the system refused": "система отказала",
    "the file system of {path} has no file locks": (
        "файловая система {path} не умеет блокировать файлы"
    ),
    "set KMI_STATE_DIR to a directory on a local disk": (
        "задайте KMI_STATE_DIR на локальном диске"
    ),
    "can't open the lock file {path}: {error}": (
        "не удалось открыть файл блокировки {path}: {error}"
    ),
    "check the state directory": "проверьте каталог состояния",
    "waiting for {holder}, which holds the lock {path}": (
        "ожидание: {holder} держит блокировку {path}"
    ),
    "gave up after {seconds} s: {holder} holds the lock {path}": (
        "{seconds} с прошли: {holder} держит блокировку {path}"
    ),
    "try again, or end that process": "повторите или завершите этот процесс",
    "{message}; shells show what it held before": "{message}; оболочки показывают прежнее",
    # The person's own rows of the classification table.
    "is not TOML: {error}": "это не TOML: {error}",
    "has {name}; allowed are [[pattern]] entries only": (
        "в нём {name}; можно только записи [[pattern]]"
    ),
    "has [pattern]; an entry begins with [[pattern]]": (
        "в нём [pattern]; запись начинается с [[pattern]]"
    ),
    "{where} is not a table": "{where}: не таблица",
    "{where} has {name}; allowed: {words}": "{where}: есть {name}; можно: {words}",
    "{where} needs a verdict: one of {words}": "{where}: нужен verdict, один из: {words}",
    "{where} needs words in contains or type": "{where}: нужны слова в contains или type",
    "{where}: {name} must be a list of words, none of them empty": (
        "{where}: {name} должно быть списком непустых слов"
    ),
    "{where}: status must be a list of numbers from 400 to 599": (
        "{where}: status должно быть списком чисел от 400 до 599"
    ),
}
