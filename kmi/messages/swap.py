"""`kmi use` and `kmi rotate`, and what a swap does beside them."""

MESSAGES = {
    "swap.bound": (
        "runs here keep to {path}: {binding}",
        "запуски здесь держатся {path}: {binding}",
    ),
    "swap.named-anyway": ("{label}: {why}", "{label}: {why}"),
    "swap.now": ("{client} now uses {label}: {why}", "{client} теперь с ключом {label}: {why}"),
    "swap.already": (
        "{client} uses {label} already: {why}",
        "{client} и так с ключом {label}: {why}",
    ),
    "swap.would": ("would use {label}: {why}", "взял бы {label}: {why}"),
    "swap.no-program": (
        "its api_key_command is not run in a dry run",
        "его api_key_command в пробном режиме не запускается",
    ),
}
