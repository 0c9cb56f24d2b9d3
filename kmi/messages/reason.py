"""Why a key has its status. The English of verdicts is `kmi.health.MEANINGS`."""

from kmi.health import MEANINGS

_RUSSIAN = {
    "dead-key": "ключ отвергнут: он неверен или от другого сервера",
    "unknown-401": "ключ отвергнут, причина неизвестна",
    "banned": "доступ закрыт",
    "payment": "подписка не подтверждена, или нужна оплата",
    "no-money": "на счёте нет денег",
    "quota": "квота исчерпана",
    "quota-5h": "пятичасовая квота исчерпана",
    "quota-7d": "недельная квота исчерпана",
    "quota-month": "месячная квота исчерпана",
    "rate": "слишком много запросов",
    "rate-or-5h": "слишком много запросов",
    "rate-org": "слишком много запросов от организации",
    "rate-day": "токены на сегодня исчерпаны",
    "unknown-403": "отказ, причина неизвестна",
    "usage-full": "квота исчерпана, судя по её показаниям",
}

MESSAGES = {
    "reason.auth-file": ("by its auth file", "так сказано в его файле"),
    "reason.by-hand": ("by `kmi keys disable`", "командой `kmi keys disable`"),
    "reason.low": ("{share} % of its quota is left", "осталось {share} % квоты"),
    "reason.errors": (
        "{share} of its answers in the last hour failed",
        "ошибки за последний час: {share}",
    ),
    "reason.no-usage": ("its quota is not known", "его квота неизвестна"),
    "reason.back": ("{what}; back in {span}", "{what}; вернётся через {span}"),
    "reason.until-reset": ("{what}; until `kmi keys reset`", "{what}; до `kmi keys reset`"),
    **{f"reason.{name}": (text, _RUSSIAN[name]) for name, text in MEANINGS.items()},
}
