"""What `kmi simulate` can't take."""

RUSSIAN = {
    "a whole number is needed, such as 3": "нужно целое число, например 3",
    "a share is needed, from 0.05 to 20, such as 0.9": "нужна доля от 0.05 до 20, например 0.9",
    "--{name} {value} is out of range": "--{name} {value}: так нельзя",
    "from {least} to {most}": "от {least} до {most}",
    "--clients is for the synthetic workload": "--clients только для придуманной нагрузки",
    "{count} clients make too many requests in {number} days": (
        "клиентов: {count}, дней: {number}; запросов выйдет слишком много"
    ),
    "name fewer of either: --clients, --days": "уменьшите --clients или --days",
    "leave it out": "уберите его",
    "there is no request to simulate": "моделировать нечего: нет запросов",
    "`kmi usage` records them": "их записывает `kmi usage`",
    "no usage is recorded yet": "расход ещё не записан",
    "`kmi usage` records it": "его записывает `kmi usage`",
    "`kmi usage` makes it anew": "`kmi usage` создаст его заново",
    "{path} is not UTF-8 text": "{path}: это не текст в UTF-8",
    "name a file of usage rows": "назовите файл со строками расхода",
    "{path}: this is no usage row": "{path}: это не строка расхода",
    "it needs time (seconds), session, input_other, output, cache_read, cache_creation": (
        "в ней нужны time (секунды), session, input_other, output, cache_read, cache_creation"
    ),
}
