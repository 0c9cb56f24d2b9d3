"""Why a question to the upstream failed; its own words stay as they are."""

RUSSIAN = {
    "no answer within {seconds} s": "нет ответа за {seconds} с",
    "no answer from {host} in time": "{host} не ответил вовремя",
    "404 from {host}: it has neither {path} nor {other}": (
        "404 от {host}: там нет ни {path}, ни {other}"
    ),
    "{words}; check the base URL": "{words}; проверьте адрес",
    "{status} from {host}: {words}": "{status} от {host}: {words}",
    "{words}; the key may belong to another host": "{words}; возможно, ключ от другого сервера",
    "no text": "без текста",
    "a redirect, which kmi never follows; check the base URL": (
        "перенаправление, по ним kmi не ходит; проверьте адрес"
    ),
    "{path} of {host}: {error}": "{path} на {host}: {error}",
    "the connection failed": "соединение не удалось",
    "its secret is not known": "его секрет неизвестен",
    "its secret has a character that can't be sent": "в секрете символ, который нельзя отправить",
    "the proxy in HTTPS_PROXY refused the connection": "прокси из HTTPS_PROXY отказал",
    "the connection ended before an HTTP answer": "соединение оборвалось до ответа HTTP",
    "the answer is compressed as {encoding}": "ответ сжат способом {encoding}",
    "the answer is not the gzip that it says": "ответ не gzip, хотя так сказано",
    "its certificate is not accepted: {why}": "сертификат не принят: {why}",
    "TLS failed: {error}": "ошибка TLS: {error}",
    "no reason given": "причина не названа",
    "host not found": "хост не найден",
    "no connection in time": "нет соединения: время вышло",
    "can't read the certificates in {path}": "не удалось прочитать сертификаты в {path}",
    "can't read the certificates of the package certifi": (
        "не удалось прочитать сертификаты пакета certifi"
    ),
    "HTTPS_PROXY is not of the form http://host:port": "HTTPS_PROXY не вида http://host:port",
    "an unknown kind of proxy": "неизвестный вид прокси",
    "not a URL": "не адрес",
    "the answer takes too long": "ответ идёт слишком долго",
    "the answer is larger than 1 MiB": "ответ больше 1 МиБ",
    "the answer has neither usages, usage nor limits": (
        "в ответе нет ни usages, ни usage, ни limits"
    ),
    "no window could be read": "ни одно окно не удалось прочитать",
    "the answer has no available_balance": "в ответе нет available_balance",
    "a limit has an unknown window": "у лимита неизвестное окно",
    "unknown pool {name}": "неизвестный счёт {name}",
    "the {name} reset lies beyond the window": "сброс {name} лежит за пределами окна",
    "the answer is nested too deeply": "слишком глубокая вложенность ответа",
    "the answer is not JSON": "ответ не JSON",
}
