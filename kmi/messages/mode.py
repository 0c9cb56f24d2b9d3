"""What every command says about how it works."""

MESSAGES = {
    "mode.dry-run": (
        "dry run: no client config is written, no request is sent",
        "пробный режим: конфиг клиента не меняется, запросы не отправляются",
    ),
    "mode.warning": ("warning", "внимание"),
    "mode.asking": ("asking", "опрос"),
}
