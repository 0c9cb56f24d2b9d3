"""`kmi trace`."""

MESSAGES = {
    "trace.time": ("time", "время"),
    "trace.key": ("key", "ключ"),
    "trace.path": ("path", "путь"),
    "trace.status": ("status", "код"),
    "trace.verdict": ("verdict", "вердикт"),
    "trace.tried": ("tried before", "до этого"),
    "trace.first": ("1st byte", "1-й байт"),
    "trace.total": ("total", "всего"),
    "trace.tokens": ("tokens", "токены"),
    "trace.session": ("session", "сессия"),
    "trace.counts": ("requests: {total}, shown: {shown}", "запросов: {total}, показано: {shown}"),
    "trace.served": (
        "who served what: {start} to {end}, a cell is {step}",
        "какой ключ что обслужил: {start} - {end}, клетка {step}",
    ),
    "trace.sure": (
        "confidence of round robin: {percent} % (over {count} placements)",
        "уверенность чередования: {percent} % (по {count} размещениям)",
    ),
    "trace.unsure": (
        "confidence of round robin: not enough data ({count} of {needed} placements)",
        "уверенность чередования: мало данных ({count} из {needed} размещений)",
    ),
    "trace.dropped": (
        "{count} requests are missing: the disk could not keep up",
        "пропущено запросов: {count} (диск не успевал)",
    ),
    "trace.none": (
        "there is no request in {path} yet; the proxy writes it (`kmi proxy`)",
        "в {path} ещё нет запросов; его пишет прокси (`kmi proxy`)",
    ),
    "trace.none-such": ("no request fits", "подходящих запросов нет"),
    "trace.following": ("live; Ctrl-C ends it", "вживую; Ctrl-C завершает"),
}
