"""What is wrong with the proxy's settings, its token, a run through it, or its service."""

RUSSIAN = {
    # The token and the record.
    "others can read {path}": "{path} могут читать другие",
    "others can read {path}: {why}": "{path} могут читать другие: {why}",
    "{path} does not hold a token": "в {path} нет токена",
    "remove it, and the next start makes one: rm {path}": (
        "удалите его, следующий запуск создаст новый: rm {path}"
    ),
    "remove it: rm {path}": "удалите его: rm {path}",
    "rm {path}, then `kmi proxy restart`: a new one is made": (
        "rm {path}, затем `kmi proxy restart`: появится новый"
    ),
    "a newer kmi runs the proxy; update this one": "прокси запущен более новым kmi; обновите этот",
    # Listening.
    "{origin}: KMI_PROXY_LISTEN={address} is not loopback, and this is missing: {missing}": (
        "{origin}: KMI_PROXY_LISTEN={address} не loopback, и не хватает: {missing}"
    ),
    "set what is missing, or listen on 127.0.0.1": "задайте недостающее или слушайте 127.0.0.1",
    "an explicit KMI_PROXY_TOKEN of at least 32 characters": (
        "явный KMI_PROXY_TOKEN не короче 32 знаков"
    ),
    "KMI_PROXY_TLS_TERMINATED=1 (TLS is terminated in front) or KMI_PROXY_REQUIRE_TLS=0": (
        "KMI_PROXY_TLS_TERMINATED=1 (TLS завершается перед прокси) или KMI_PROXY_REQUIRE_TLS=0"
    ),
    # A run.
    "{option} has no place beside --proxy: the proxy picks a key for each request": (
        "{option} не сочетается с --proxy: прокси выбирает ключ для каждого запроса"
    ),
    "--adopt has no place beside --proxy: your config stays as it is": (
        "--adopt не сочетается с --proxy: ваш конфиг остаётся как есть"
    ),
    "leave one of them out": "уберите одно из них",
    "leave one of them out; `kmi use LABEL` tells a running proxy which key": (
        "уберите одно из них; `kmi use LABEL` скажет работающему прокси, какой ключ"
    ),
    "KMI_PROXY_BASE_PATH={path} gives no base URL for clients: {url} {why}": (
        "KMI_PROXY_BASE_PATH={path} не даёт клиентам базовый URL: {url} {why}"
    ),
    "choose another path": "выберите другой путь",
    "point default_model at a Kimi model, or run without --proxy": (
        "задайте в default_model модель Kimi или запустите без --proxy"
    ),
    # Logs and services.
    "a number of lines is needed, such as 50": "нужно число строк, например 50",
    "a span is needed, such as 30s, 10m, 2h, 1d or 4w": (
        "нужен срок, например 30s, 10m, 2h, 1d или 4w"
    ),
    "{command}: exit code {code}: {said}": "{command}: код выхода {code}: {said}",
    "run it by hand": "выполните сами",
    "can't remove {path}: {why}": "не удалось удалить {path}: {why}",
    "check its owner and directory": "проверьте владельца и каталог",
    "{value} holds characters that a service file can't hold": (
        "в {value} есть знаки, недопустимые в файле службы"
    ),
    "move what it names, or start the proxy yourself": (
        "перенесите названное или запускайте прокси сами"
    ),
}
