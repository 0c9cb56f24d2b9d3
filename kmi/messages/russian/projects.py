"""What is wrong with a project's `.kmi.toml`, and why it does not count."""

RUSSIAN = {
    "is denied": "запрещён",
    "{command} takes that back": "{command} снимет запрет",
    "is not allowed yet, so it does not count": "ещё не разрешён и потому не действует",
    "is not what was allowed: it was changed": "не тот, что был разрешён: его изменили",
    "look at it, then {allow} or {deny}": "прочитайте его, затем {allow} или {deny}",
    "{why}; what was allowed is strict ({labels}), so no key is used": (
        "{why}; разрешённый был строгим ({labels}), поэтому ключа нет"
    ),
    "can't be judged: {path} is damaged ({error}), so no key is used": (
        "нельзя проверить: {path} повреждён ({error}), поэтому ключа нет"
    ),
    "it has no schema number": "нет номера схемы",
    "it is nested too deeply": "слишком глубокая вложенность",
    "a field is missing or of the wrong kind ({error})": "поля нет или оно не того вида ({error})",
    "{labels} ({how})": "{labels} ({how})",
    "strict: never another key": "строго: никакой другой ключ",
    "preferred in this order": "предпочтение в этом порядке",
    "is owned by another user": "принадлежит другому пользователю",
    "there is no {path}": "нет {path}",
    "{path}, nor any {where}": "{path}, и нет ни одного {where}",
    "in the directories above": "в каталогах выше",
    "`kmi bind LABEL` writes one": "`kmi bind LABEL` создаст его",
    "{text} is neither a {name} nor a directory": "{text}: не {name} и не каталог",
    "name one of them": "назовите одно из двух",
    "{path} was changed meanwhile": "{path} тем временем изменили",
    "look at it, and try again": "прочитайте его и повторите",
    "make a copy of your own": "сделайте свою копию",
    "can be written by everyone": "в него может писать любой",
    # What is in it.
    "holds what looks like a secret": "в нём что-то похожее на секрет",
    "take it out; it was in a file that is meant to be shared, so revoke it too": (
        "уберите его; он был в файле для общего доступа, поэтому и отзовите его"
    ),
    "{name} has no place here: it is never for secrets": (
        "{name} здесь не место: этот файл не для секретов"
    ),
    "{name} is not a field of .kmi.toml": "{name}: такого поля в .kmi.toml нет",
    "strict is not a truth value": "strict не true и не false",
    "write true or false": "напишите true или false",
    "schema is not a number from 1": "schema не число от 1",
    "write schema = {number}": "напишите schema = {number}",
    "has schema {found}, this kmi knows up to {known}": (
        "у него схема {found}, этот kmi знает не выше {known}"
    ),
    "update kmi": "обновите kmi",
    "has no keys": "в нём нет keys",
    'write keys = ["LABEL"]': 'напишите keys = ["LABEL"]',
    "keys is not a list of labels": "keys не список имён",
    "entry {number} of keys is not a label": "запись {number} в keys не имя",
    "use 1 to 64 of A-Z a-z 0-9 . _ @ / -, not beginning with -": (
        "от 1 до 64 знаков A-Z a-z 0-9 . _ @ / -, не с - в начале"
    ),
    "keys names {label} twice": "{label} назван в keys дважды",
    "keep the one that is meant": "оставьте нужный",
}
