"""What looks like a secret, and how it is kept out of what is shown. It does not know where that is shown."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

HIDDEN = "***"

KEYWORDS = ("PASS", "SECRET", "TOKEN", "KEY", "PRIVATE", "CREDENTIAL", "CREDS")
"""A name that holds one of these, in whatever case, is that of a secret, but for the harmless words below. Those of the
SageMaker Python SDK's container drivers (SENSITIVE_KEYWORDS), and `pass`, `passwd`, `passphrase`."""

_HARMLESS = ("TOKENIZ", "KEYPOINT", "MONKEY")
"""Words of machine learning that hold a keyword: which tokenizer could not be loaded is worth knowing."""
_SHORTEST = 8
"""Characters of the shortest value that is looked for in a text: a shorter one is found in words that mean something else."""


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret."""
    name = name.upper()
    for word in _HARMLESS:
        name = name.replace(word, "")
    return any(keyword in name for keyword in KEYWORDS)


def values(environment: Mapping[str, str]) -> list[str]:
    """The secrets of an environment that must not appear in a text, the longest first.

    Those below 8 characters are not among them: `max_tokens` is no secret, and its 4096 no reason to make a text unreadable. Of a
    variable that is JSON, such as SM_HPS, they are the values below a secret's name and after a secret's option.
    """
    found: set[str] = set()
    for name, value in environment.items():
        parsed = _parsed(value)
        try:
            _collect(value if parsed is None else parsed, is_secret(name), found)
        except RecursionError:
            pass  # what is nested so deep that it cannot be gone through has no secret of any use
        if is_secret(name):
            found.add(value)
        found.update(_passwords(value))
    return sorted([value for value in found if len(value) >= _SHORTEST], key=lambda value: (-len(value), value))


def mask(text: str, values: Iterable[str]) -> str:
    """The text with `***` for each of the values, which are as `values` gives them."""
    for value in values:
        if value in text:
            text = text.replace(value, HIDDEN)
    return text


def shown(name: str, value: str) -> str:
    """A variable's value as it may be shown; of one that is JSON the structure stays."""
    if is_secret(name):
        return HIDDEN if value else value
    parsed = _parsed(value)
    if parsed is None:
        return conceal([value])[0]
    try:
        hidden = _hidden(parsed, False)
    except RecursionError:
        return HIDDEN
    if hidden == parsed:
        return value
    from smentry import jsontext

    return jsontext.dumps(hidden)


def conceal(words: list[str]) -> list[str]:
    """The words of a command, with `***` for the value of --api-token and the like and a URL's password."""
    shown: list[str] = []
    hide = False
    for word in words:
        if hide and not word.startswith("-"):
            shown.append(HIDDEN)
            hide = False
            continue
        name, mark = _assigned(word)
        if mark and is_secret(name):
            shown.append(name + mark + HIDDEN)
        else:
            for password in _passwords(word):
                word = word.replace(f":{password}@", f":{HIDDEN}@")
            shown.append(word)
        hide = word.startswith("-") and not mark and is_secret(word)
    return shown


def _assigned(word: str) -> tuple[str, str]:
    """The name and the mark of `--name=value` and `name:value`, empty where it is neither."""
    for index, character in enumerate(word):
        if character in "=:":
            is_assignment = index > 0 and index + 1 < len(word)
            return (word[:index], character) if is_assignment else ("", "")
        if character.isspace():
            break
    return "", ""


def _passwords(text: str) -> list[str]:
    """The passwords of the URLs in a text: `scheme://user:password@host`."""
    found = []
    for part in text.split("://")[1:]:
        user, at, _ = part.partition("@")
        _, colon, password = user.partition(":")
        if at and colon and password and not any(character in user for character in "/ \t\n"):
            found.append(password)
    return found


def _parsed(text: str) -> Any:
    """The object or list that a text is, else None."""
    if text[:1] not in ("{", "["):
        return None
    from smentry import jsontext

    found = jsontext.value_or_text(text)
    return None if isinstance(found, str) else found


def _collect(value: Any, secret: bool, found: set[str]) -> None:
    """Add the values below a secret's name, and the words after a secret's option, to those found."""
    if isinstance(value, dict):
        for name, part in value.items():
            _collect(part, secret or is_secret(name), found)
    elif isinstance(value, list):
        for before, part in zip([None, *value], value):
            _collect(part, secret or _is_option(before), found)
    elif secret:
        found.add(str(value))


def _hidden(value: Any, secret: bool) -> Any:
    """The same value with `***` for what is below a secret's name."""
    if isinstance(value, dict):
        return {name: _hidden(part, secret or is_secret(name)) for name, part in value.items()}
    if isinstance(value, list):
        if value and not secret and all(isinstance(word, str) for word in value):
            return conceal(value)
        return [_hidden(part, secret) for part in value]
    if secret:
        return HIDDEN
    return conceal([value])[0] if isinstance(value, str) else value


def _is_option(word: Any) -> bool:
    return isinstance(word, str) and word.startswith("-") and is_secret(word)
