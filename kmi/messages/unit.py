"""Units, windows and the names of statuses."""

MESSAGES = {
    "unit.d": ("d", "д"),
    "unit.h": ("h", "ч"),
    "unit.min": ("min", "мин"),
    "unit.s": ("s", "с"),
    "unit.ago": ("{span} ago", "{span} назад"),
    "unit.in": ("in {span}", "через {span}"),
    "unit.never": ("never", "никогда"),
    "unit.window-5h": ("5 h", "5 ч"),
    "unit.window-1d": ("day", "день"),
    "unit.window-7d": ("7 d", "7 д"),
    "unit.window-month": ("month", "месяц"),
    "unit.window-plan": ("plan", "тариф"),
    "unit.status-healthy": ("healthy", "в порядке"),
    "unit.status-warn": ("warn", "внимание"),
    "unit.status-exhausted": ("exhausted", "исчерпан"),
    "unit.status-blocked": ("blocked", "заблокирован"),
    "unit.status-disabled": ("disabled", "отключён"),
    "unit.status-unknown": ("unknown", "неизвестно"),
}
