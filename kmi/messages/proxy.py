"""`kmi proxy`, `kmi run --proxy`, `kmi service`."""

MESSAGES = {
    "proxy.started": (
        "the proxy answers (process {pid})",
        "прокси отвечает (процесс {pid})",
    ),
    "proxy.token": (
        "clients send the proxy's token as their API key; it is in {token}",
        "клиенты шлют токен прокси как ключ API; он в {token}",
    ),
    "proxy.how-to-stop": (
        "`kmi proxy stop` ends it, `kmi proxy-logs` shows what it does",
        "`kmi proxy stop` завершит его, `kmi proxy-logs` покажет, что он делает",
    ),
    "proxy.how-to-interrupt": ("Ctrl-C ends it", "Ctrl-C завершит его"),
    "proxy.already": (
        "the proxy runs already (process {pid})",
        "прокси уже работает (процесс {pid})",
    ),
    "proxy.elsewhere": (
        "the settings say {address}; `kmi proxy restart` takes it there",
        "в настройках {address}; `kmi proxy restart` перенесёт его туда",
    ),
    "proxy.restarted": (
        "the proxy was restarted (process {pid})",
        "прокси перезапущен (процесс {pid})",
    ),
    "proxy.stopped": ("the proxy has ended", "прокси завершён"),
    "proxy.killed": (
        "the proxy was killed; what it was serving is cut off",
        "прокси убит; ответы, которые он передавал, оборваны",
    ),
    "proxy.starting": ("a proxy is just starting or ending", "прокси запускается или завершается"),
    "proxy.not-running": ("no proxy runs", "прокси не работает"),
    "proxy.row-address": ("address", "адрес"),
    "proxy.row-process": ("process", "процесс"),
    "proxy.row-version": ("version", "версия"),
    "proxy.row-started": ("started", "запущен"),
    "proxy.row-how": ("how", "как"),
    "proxy.row-token": ("token", "токен"),
    "proxy.row-answers": ("answers", "отвечает"),
    "proxy.row-in-flight": ("requests now", "запросов сейчас"),
    "proxy.row-runs": ("runs", "запусков"),
    "proxy.row-ends": ("ends with them", "завершится с ними"),
    "proxy.row-log": ("log", "журнал"),
    "proxy.yes": ("yes", "да"),
    "proxy.no": ("no", "нет"),
    "proxy.how-background": ("in the background", "в фоне"),
    "proxy.how-foreground": ("in a terminal", "в терминале"),
    "proxy.how-service": ("as a service", "как служба"),
    "proxy.how-run": ("by `kmi run --proxy`", "командой `kmi run --proxy`"),
    "proxy.silent": (
        "it does not answer: it is ending, or hangs",
        "он не отвечает: завершается или завис",
    ),
    "proxy.active-key-only": (
        "KMI_AUTO_ROTATE_ALLOWED is off: the proxy serves the active key only, and passes its "
        "errors on",
        "KMI_AUTO_ROTATE_ALLOWED выключена: прокси использует только активный ключ и передаёт его "
        "ошибки дальше",
    ),
    "proxy.detail": ("through the proxy at {address}", "через прокси на {address}"),
    "proxy.would-start": (
        "would start the proxy at {address}; a dry run sends nothing upstream, so it stays off",
        "запустил бы прокси на {address}; пробный режим ничего не шлёт, поэтому он не запущен",
    ),
    "proxy.would-stop": ("would end the proxy", "завершил бы прокси"),
    "proxy.would-run": (
        "would start {path} with the proxy at {address}",
        "запустил бы {path} с прокси на {address}",
    ),
    "proxy.waiting": (
        "waiting for {process}, which holds the proxy's lock and does not answer",
        "ожидание: {process} держит блокировку прокси и не отвечает",
    ),
    "proxy.unresponsive": (
        "{process} holds the proxy's lock and did not answer within {limit} s",
        "{process} держит блокировку прокси и не ответил за {limit} с",
    ),
    "proxy.unresponsive-fix": (
        "try again, or end it: `kmi proxy stop --force`",
        "повторите или завершите его: `kmi proxy stop --force`",
    ),
    "proxy.another": ("another kmi", "другой kmi"),
    "proxy.some-program": ("another program", "другая программа"),
    "proxy.runs-already": (
        "the proxy of this state directory runs already: {address}",
        "прокси этого каталога состояния уже работает: {address}",
    ),
    "proxy.runs-already-fix": (
        "`kmi proxy stop` ends it, `kmi proxy status` shows it",
        "`kmi proxy stop` завершит его, `kmi proxy status` покажет",
    ),
    "proxy.port-held": (
        "can't listen on {address}: {holder} listens there",
        "нельзя слушать {address}: там слушает {holder}",
    ),
    "proxy.port-of-kmi": (
        "can't listen on {address}: a kmi proxy of another state directory is there ({holder})",
        "нельзя слушать {address}: там прокси kmi с другим каталогом состояния ({holder})",
    ),
    "proxy.port-fix": (
        "choose another port, for instance KMI_PROXY_LISTEN=127.0.0.1:54124, or end that program",
        "выберите другой порт, например KMI_PROXY_LISTEN=127.0.0.1:54124, или завершите программу",
    ),
    "proxy.no-report": (
        "the proxy did not start{said}",
        "прокси не запустился{said}",
    ),
    "proxy.no-report-fix": ("see {path}", "смотрите {path}"),
    "proxy.busy": (
        "requests that are still served: {count}; waiting for them for 30 s at the most",
        "ещё обслуживается запросов: {count}; ожидание не дольше 30 с",
    ),
    "proxy.draining": ("waiting for streams to end, seconds", "ожидание конца ответов, секунд"),
    "proxy.still-running": (
        "the proxy (process {pid}) still runs after {limit} s: it has open streams, or hangs",
        "прокси (процесс {pid}) работает и через {limit} с: есть открытые ответы, или он завис",
    ),
    "proxy.force-fix": (
        "wait and try again, or cut them off: `kmi proxy stop --force`",
        "подождите и повторите или оборвите: `kmi proxy stop --force`",
    ),
    "proxy.of-service": (
        "the proxy runs as a service, which its manager restarts",
        "прокси работает как служба, её перезапускает диспетчер служб",
    ),
    "proxy.token-open": (
        "{path} could be read by others, its mode is tightened; for a new token remove it and say "
        "`kmi proxy restart`",
        "{path} могли читать другие, права исправлены; для нового токена удалите файл и дайте "
        "`kmi proxy restart`",
    ),
    "proxy.token-differs": (
        "the running proxy takes another token than this command has",
        "работающий прокси принимает другой токен, не тот, что у этой команды",
    ),
    "proxy.token-differs-fix": (
        "set the same KMI_PROXY_TOKEN, or `kmi proxy restart`",
        "задайте тот же KMI_PROXY_TOKEN или дайте `kmi proxy restart`",
    ),
    "proxy.bound": (
        "{path} binds this run to keys, and the proxy picks among all of them",
        "{path} привязывает запуск к ключам, а прокси выбирает из всех",
    ),
    "proxy.bound-fix": ("run without --proxy", "запустите без --proxy"),
    "proxy.not-local": (
        "the proxy listens on {host} only, which a run does not use: the token would cross the net",
        "прокси слушает только {host}, запуск так не идёт: токен прошёл бы по сети",
    ),
    "proxy.not-local-fix": (
        "let it listen on 127.0.0.1",
        "пусть он слушает 127.0.0.1",
    ),
    "proxy.no-log": ("there is no {path} yet", "файла {path} ещё нет"),
    "proxy.service-light": (
        "{labels}: their secret comes from a program, which would not work in the full sandbox; "
        "the light one is taken",
        "{labels}: секрет даёт программа, в полной песочнице она не заработает; взята лёгкая",
    ),
    "proxy.service-secret": (
        "{name} is a secret and is not written into the service file; put it into {path}",
        "{name} секретна и не пишется в файл службы; впишите её в {path}",
    ),
    "proxy.service-foreign": (
        "{path} was not written by kmi",
        "{path} написан не kmi",
    ),
    "proxy.service-changed": (
        "{path} was changed since kmi wrote it",
        "{path} изменён после того, как kmi его записал",
    ),
    "proxy.service-replace": ("--force replaces it", "--force заменит его"),
    "proxy.service-remove": (
        "remove it yourself, or use --force",
        "удалите сами или дайте --force",
    ),
    "proxy.service-would-write": ("would write {path}", "записал бы {path}"),
    "proxy.service-would-remove": ("would remove {path}", "удалил бы {path}"),
    "proxy.service-written": ("{path} is written", "{path} записан"),
    "proxy.service-same": ("{path} is there already, just so", "{path} уже есть, точно такой"),
    "proxy.service-removed": ("{path} is removed", "{path} удалён"),
    "proxy.service-missing": ("there is no {path}", "файла {path} нет"),
    "proxy.service-on": ("turn it on with:", "включить:"),
    "proxy.service-off": ("turn it off with:", "выключить:"),
    "proxy.service-by-hand": (
        "kmi does not call the task scheduler by itself",
        "kmi сам не вызывает планировщик заданий",
    ),
}
