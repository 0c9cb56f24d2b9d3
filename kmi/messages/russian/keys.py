"""What is wrong with an auth file, its directory, or a key's own program."""

RUSSIAN = {
    "there is no key in {path}": "в {path} нет ключей",
    "add one with `kmi keys add LABEL`, or take those of your client with `kmi keys import`": (
        "добавьте ключ: `kmi keys add LABEL`, или возьмите ключи клиента: `kmi keys import`"
    ),
    "known: {labels}": "есть: {labels}",
    "{path} could be written by others; its mode is tightened": (
        "в {path} могли писать другие; права урезаны"
    ),
    "{path} could be read by others (mode {mode}); it is 0600 now": (
        "{path} могли читать другие (права {mode}); теперь 0600"
    ),
    "is a link to a directory, which is not followed": (
        "это ссылка на каталог, kmi по ней не идёт"
    ),
    "put the directory itself there": "положите туда сам каталог",
    "{path} belongs to another user": "{path} принадлежит другому пользователю",
    "use a directory of your own": "возьмите свой каталог",
    "check its mode": "проверьте права",
    "check it": "проверьте его",
    "{path} can be written by others": "в {path} могут писать другие",
    "run: chmod go-w {path}": "выполните: chmod go-w {path}",
    "others can read it (mode {mode})": "его могут читать другие (права {mode})",
    "{path} can be read by others (mode {mode}) and kmi can't change that": (
        "{path} могут читать другие (права {mode}), и kmi не может это изменить"
    ),
    "can be read by others (mode {mode}) and kmi can't change that": (
        "его могут читать другие (права {mode}), и kmi не может это изменить"
    ),
    "key {label} is the same key as {other} in {path}": (
        "ключ {label} тот же, что {other} в {path}"
    ),
    "remove one of the two; the first is used": "уберите один из них; берётся первый",
    "the label {label} is taken by {path}": "имя {label} уже занято файлом {path}",
    "give it another label": "дайте другое имя",
    "its label looks like an API key": "имя в нём похоже на сам ключ",
    "its name looks like an API key": "его имя похоже на сам ключ",
    "rename the file, or set another label in it": (
        "переименуйте файл или укажите в нём другое имя ключа"
    ),
    "key {label} has the base URL {url}, which KMI_UPSTREAM_ALLOWLIST does not allow": (
        "у ключа {label} адрес {url}, которого KMI_UPSTREAM_ALLOWLIST не разрешает"
    ),
    "add its host to the list, or correct the base URL": (
        "добавьте его хост в список или исправьте адрес"
    ),
    # The text of a file.
    "has a NUL byte": "в нём есть нулевой байт",
    "save it as plain UTF-8 text": "сохраните его как простой текст UTF-8",
    "is not valid JSON": "это не правильный JSON",
    "is not usable JSON": "этот JSON не годится",
    "is not a JSON object": "это не объект JSON",
    'write {"api_key": "…"}': 'напишите {"api_key": "…"}',
    "{name} is not a field of auth files": "{name}: такого поля в файлах ключей нет",
    "has {n} more names that are not fields of auth files": "ещё столько полей, которых в файлах "
    "ключей нет: {n}",
    "is it another kind of file?": "может быть, это файл другого рода?",
    "{name} is given twice": "{name} указано дважды",
    "it stands in line {line} too": "оно есть и в строке {line}",
    "remove it": "уберите его",
    "'providers' is not a table of providers": "'providers' не таблица провайдеров",
    "provider {name} is not a table": "провайдер {name} не таблица",
    "provider {name} has {what}: no key in it": "у провайдера {name} {what}: ключа в нём нет",
    "an OAuth login": "вход OAuth",
    "no api_key": "нет api_key",
    "provider {name} is of type {type}: not a Kimi key": (
        "провайдер {name} типа {type}: это не ключ Kimi"
    ),
    "no provider in it has an api_key": "ни у одного провайдера в нём нет api_key",
    "add one, or remove the file": "добавьте его или удалите файл",
    "base_url {error}": "base_url: {error}",
    "has both api_key and api_key_command": "в нём и api_key, и api_key_command",
    "keep one of them": "оставьте одно из них",
    "has no api_key": "в нём нет api_key",
    "add it, or api_key_command, or remove the file": (
        "добавьте его или api_key_command, или удалите файл"
    ),
    "api_key_command has a control character": "в api_key_command управляющий символ",
    "write it on one line": "напишите её в одну строку",
    "label {label} is not allowed": "имя {label} не годится",
    "use 1 to 64 of A-Z a-z 0-9 . _ @ / -, not beginning with -; set one in the file": (
        "от 1 до 64 знаков A-Z a-z 0-9 . _ @ / -, не с - в начале; задайте имя в файле"
    ),
    "{name} is not a string": "{name} не строка",
    "put it in quotes": "возьмите в кавычки",
    "write a whole number from {low} to {high}": "напишите целое число от {low} до {high}",
    "write 1 or 0": "напишите 1 или 0",
    # A secret.
    "the key is empty": "ключ пуст",
    "the key has a blank, a non-ASCII or a control character": (
        "в ключе пробел, не-ASCII или управляющий символ"
    ),
    "the key is a placeholder": "вместо ключа заглушка",
    "the key is not between 8 and 4096 characters long": "длина ключа не от 8 до 4096 знаков",
    "put the real key there": "впишите настоящий ключ",
    "that can't be stored: {error}": "это не сохранить: {error}",
    "it is not text": "это не текст",
    "paste the whole key, once": "вставьте ключ целиком и один раз",
    "an option is not UTF-8 text": "значение параметра не текст UTF-8",
    "write it in UTF-8": "напишите его в UTF-8",
    "try again": "повторите",
    # The program that gives one.
    "{where}: the api_key_command of {label} {why}": "{where}: api_key_command ключа {label} {why}",
    "run it by hand to see what it prints": "запустите её сами и посмотрите, что она печатает",
    "is empty": "пуста",
    "has unbalanced quotes": "с незакрытой кавычкой",
    "names {name}, which is not on PATH": "называет {name}, а его нет в PATH",
    "took longer than {seconds} s": "работала дольше {seconds} с",
    "can't be run: {error}": "не запускается: {error}",
    "ended with exit code {code}": "завершилась с кодом {code}",
    "gave no usable key: {error}": "не дала годного ключа: {error}",
}
