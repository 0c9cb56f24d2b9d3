"""The clients' hooks, and runs that are tried twice."""

RUSSIAN = {
    "{path} is a link that leads nowhere": "{path} - ссылка в никуда",
    "{path} is no list of plugins that kmi knows": "{path} - не список плагинов, какой знает kmi",
    "start Kimi Code and look at /plugins; nothing was changed": (
        "запустите Kimi Code и откройте /plugins; ничего не изменено"
    ),
    "{path}: hooks are not written as [[hooks]] tables": (
        "{path}: hooks записаны не таблицами [[hooks]]"
    ),
    "write each of them as a [[hooks]] table of its own; nothing was changed": (
        "запишите каждый отдельной таблицей [[hooks]]; ничего не изменено"
    ),
    "{path} can't be edited safely; nothing was changed": (
        "{path} нельзя изменить безопасно; ничего не изменено"
    ),
    "write its tables in the plain form, and report this file's layout": (
        "запишите его таблицы в простом виде и сообщите, как устроен этот файл"
    ),
    "{client} has no config yet ({path})": "у {client} ещё нет конфига ({path})",
    "start it once with `kmi run`, or swap a key in with `kmi use LABEL`": (
        "запустите его раз через `kmi run` или поставьте ключ: `kmi use LABEL`"
    ),
    "{path} was changed while kmi was editing it": "{path} изменился, пока kmi его правил",
    "close what writes it, and try again": "закройте то, что его пишет, и повторите",
    "KMI_WRITE_CONFIG=0 forbids to write the client's config, which holds its hooks": (
        "KMI_WRITE_CONFIG=0 запрещает писать конфиг клиента, а хуки в нём"
    ),
    "unset it ({origin})": "уберите её ({origin})",
    "can't keep a copy in {folder}: {why}; {path} was not changed": (
        "нельзя сохранить копию в {folder}: {why}; {path} не изменён"
    ),
    "--retry takes another key, and -k names one": "--retry берёт другой ключ, а -k называет один",
    "--retry does not work on Windows": "--retry не работает в Windows",
    "run it again by hand": "запустите ещё раз сами",
    "leave one of them out": "уберите одно из них",
    "--retry does not go with --proxy, which tries again by itself": (
        "--retry не нужен с --proxy: прокси повторяет сам"
    ),
    "--retry is for one-shot runs of a client": "--retry - для разовых запусков клиента",
    "for instance: kmi run --retry -- kimi -p 'PROMPT' (kimi-cli: with --print)": (
        "например: kmi run --retry -- kimi -p 'PROMPT' (kimi-cli: с --print)"
    ),
}
