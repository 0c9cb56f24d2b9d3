"""What is wrong with a setting, a base URL, or the command line."""

RUSSIAN = {
    "environment": "окружение",
    "default": "по умолчанию",
    "{name} is not valid": "{name}: недопустимое значение",
    "{name} is given twice, and counts as it stands here": (
        "{name}: задано дважды, действует то, что здесь"
    ),
    "{name} is not a setting of kmi": "{name}: у kmi нет такой настройки",
    "did you mean {name}?": "может быть, {name}?",
    "{name} has no effect here": "{name} здесь не действует",
    "it belongs in an auth file": "её место в файле ключа",
    "export it instead": "задайте её в окружении",
    "it is empty; unset it to get the default": (
        "она пуста; уберите её, и будет значение по умолчанию"
    ),
    "this line is not NAME=value": "строка не вида ИМЯ=значение",
    "correct or remove it": "исправьте или уберите её",
    "environment: KMI_ENV_PATH={value} is not valid": (
        "окружение: KMI_ENV_PATH={value}: недопустимое значение"
    ),
    "KMI_ENV_PATH names {path}, which does not exist": ("KMI_ENV_PATH называет {path}, а его нет"),
    "create or unset it": "создайте файл или уберите переменную",
    "can't read the env file {path}: {error}": "не удалось прочитать env-файл {path}: {error}",
    "KMI_UPSTREAM_ALLOWLIST does not allow KMI_UPSTREAM_BASE_URL ({url})": (
        "KMI_UPSTREAM_ALLOWLIST не разрешает KMI_UPSTREAM_BASE_URL ({url})"
    ),
    "add its host, or change the base URL; keys without their own can't be used": (
        "добавьте его хост или смените адрес; ключи без своего адреса не годятся"
    ),
    "KMI_PROXY_LISTEN names {host}, which is not loopback": (
        "KMI_PROXY_LISTEN называет {host}, а это не loopback"
    ),
    "set KMI_PROXY_ALLOW_REMOTE=1 if that is meant; the proxy won't start otherwise": (
        "если так задумано, поставьте KMI_PROXY_ALLOW_REMOTE=1; иначе прокси не запустится"
    ),
    # What is allowed.
    "allowed: 0, 1, true, false, yes, no, on, off": "можно: 0, 1, true, false, yes, no, on, off",
    "allowed: whole numbers from {low} to {high}": "можно: целые числа от {low} до {high}",
    "allowed: an absolute path, or one that begins with ~/": (
        "можно: полный путь или путь, который начинается с ~/"
    ),
    "allowed: printable text on one line": "можно: печатный текст в одну строку",
    "allowed: HOST:PORT, with [::1] for IPv6 and a port from 0 to 65535": (
        "можно: ХОСТ:ПОРТ, для IPv6 [::1], порт от 0 до 65535"
    ),
    "allowed: HOST:PORT, with brackets around an IPv6 address": (
        "можно: ХОСТ:ПОРТ, адрес IPv6 в скобках"
    ),
    "allowed: a path that begins with /, for instance /kmi-rotor/v1": (
        "можно: путь, который начинается с /, например /kmi-rotor/v1"
    ),
    "allowed: at least 32 printable ASCII characters without spaces": (
        "можно: не меньше 32 печатных символов ASCII без пробелов"
    ),
    "allowed: local, UTC, +03:00, or an IANA name like Europe/Riga": (
        "можно: local, UTC, +03:00 или имя IANA вроде Europe/Riga"
    ),
    "allowed: an offset like +03:00, up to 14 hours": "можно: смещение вроде +03:00, до 14 часов",
    "allowed: 0.5 to 86400 seconds": "можно: от 0.5 до 86400 секунд",
    "allowed: {words}": "можно: {words}",
    # Base URLs, after the name of what holds them.
    "has userinfo ('@'), which a base URL must not have": "в адресе не должно быть имени ('@')",
    "has a query or a fragment, which a base URL must not have": (
        "в адресе не должно быть запроса или фрагмента"
    ),
    "is not of the form https://host[:port][/path]": "нужен вид https://host[:port][/path]",
    "must begin with https://": "адрес должен начинаться с https://",
    "is plain http, which only loopback addresses may use; use https://": (
        "http без шифрования можно только для loopback; нужен https://"
    ),
    "has a port outside 1 to 65535": "порт не в пределах от 1 до 65535",
    "has an empty, '.' or '..' part in its path": "в пути пустая часть, '.' или '..'",
    "has a host that is not a plain host name": "хост не похож на обычное имя",
    "has an internationalised host, which could imitate another one": (
        "интернациональное имя хоста может подделывать другое"
    ),
    "has a number as its host": "вместо хоста число",
    "has an IPv6 host other than [::1]": "адрес IPv6, но не [::1]",
    "has a link-local or unspecified address": "адрес link-local или неопределённый",
    "has the entry {entry}, which is not host, host:port or *.domain": (
        "запись {entry} не вида host, host:port или *.domain"
    ),
    "HOME is not set to an absolute path": "HOME не задаёт полный путь",
    "set HOME, or KMI_STATE_DIR": "задайте HOME или KMI_STATE_DIR",
    "KIMI_CODE_HOME is set but empty, so Kimi Code would read the current directory": (
        "KIMI_CODE_HOME задана, но пуста: Kimi Code читал бы текущий каталог"
    ),
    "unset KIMI_CODE_HOME": "уберите KIMI_CODE_HOME",
    # The command line.
    "unknown command {name}": "нет команды {name}",
    "unknown option {name}": "нет опции {name}",
    "see `kmi --help`": "см. `kmi --help`",
    "see `{command} --help`": "см. `{command} --help`",
    "a key is no argument: `kmi keys add LABEL` asks for it, or reads stdin": (
        "ключ не передают аргументом: `kmi keys add LABEL` спросит его или прочтёт из stdin"
    ),
    "no command to run": "не указана программа",
    "for instance: kmi run -- kimi": "например: kmi run -- kimi",
    "--refresh and --no-refresh exclude one another": "--refresh и --no-refresh не сочетаются",
    "leave one out": "уберите одну из них",
    "--watch has no --json": "у --watch нет --json",
    "call `kmi health --json` as often as you like": "вызывайте `kmi health --json` сколько нужно",
    "--watch {seconds} is out of range": "--watch {seconds}: вне пределов",
    "the system refused: {error}": "система отказала: {error}",
    "please report this line; it holds no secret": "пришлите эту строку; секретов в ней нет",
    # Of argparse.
    "unrecognized arguments: {words}": "лишние аргументы: {words}",
    "the following arguments are required: {names}": "не хватает аргументов: {names}",
    "argument {name}: expected one argument": "у аргумента {name} нет значения",
    "argument {name}: invalid choice: {value} (choose from {words})": (
        "аргумент {name}: недопустимое значение {value} (можно: {words})"
    ),
    "argument {name}: invalid float value: {value}": "аргумент {name}: {value} не число",
}
