"""`kmi rotate auto` and `kmi rotate off`."""

MESSAGES = {
    "rotate.proving": ("proving the rotation", "проверка смены ключей"),
    "rotate.on": (
        "automatic rotation is on: runs take the next usable key ({labels})",
        "автоматическая смена включена: каждый запуск берёт следующий годный ключ ({labels})",
    ),
    "rotate.on-already": (
        "automatic rotation was on already",
        "автоматическая смена уже была включена",
    ),
    "rotate.off": ("automatic rotation is off", "автоматическая смена выключена"),
    "rotate.off-already": (
        "automatic rotation was off already",
        "автоматическая смена и так выключена",
    ),
    "rotate.would-on": (
        "would turn automatic rotation on for {labels}",
        "включил бы автоматическую смену для {labels}",
    ),
    "rotate.would-off": (
        "would turn automatic rotation off",
        "выключил бы автоматическую смену",
    ),
    "rotate.one-account": (
        "all these keys are of one account and share its limits: rotation gains nothing",
        "все эти ключи одного аккаунта с общими лимитами: смена ничего не даст",
    ),
    "rotate.failed": ("failed", "не вышло"),
}
