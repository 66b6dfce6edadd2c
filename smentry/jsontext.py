"""JSON to values and back, without the cost of importing `json`. It knows nothing of what the values mean."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Pairs = list[tuple[str, Any]]
    Scan = Callable[[str, int], tuple[Any, int]]

_BLANK = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class TwiceError(ValueError):
    """A key is in an object twice; the text is the key."""


def loads(text: str, *, unique: bool = False) -> Any:
    """What `json.loads` makes of a text; with `unique` a key may be in an object once only.

    Raises json.JSONDecodeError, which is a ValueError, for what is no JSON; TwiceError; and ValueError or RecursionError for
    numbers and depths beyond the interpreter's limits.
    """
    found = _scanned(_scan_unique if unique else _scan, text)
    if found:
        return found[0]
    import json  # for the error that says what was expected where

    return json.loads(text, object_pairs_hook=_once if unique else None)


def value_or_text(text: str) -> Any:
    """What `json.loads` makes of a text, and the text itself where that is not JSON or beyond the interpreter's limits."""
    try:
        found = _scanned(_scan, text)
        if found is None and _scan is None:
            return loads(text)
    except (ValueError, RecursionError):
        return text
    return found[0] if found else text


def dumps(value: Any) -> str:
    """`json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)`. Raises RecursionError."""
    if _encode is None:
        import json

        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "".join(_encode(value, 0))


def _scanned(scan: Scan | None, text: str) -> tuple[Any] | None:
    """The value; None where the text is not JSON, though for some such text the scanner raises itself."""
    if scan is None:
        return None
    try:
        value, end = scan(text, len(text) - len(text.lstrip(_BLANK)))
    except (StopIteration, SystemError):
        return None  # the latter on 3.10 and 3.11, which look for the class of their error and do not load it
    return None if text[end:].strip(_BLANK) else (value,)


def _once(pairs: Pairs) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise TwiceError(key)
        seen[key] = value
    return seen


def _refuse(value: Any) -> Any:
    raise TypeError(f"expected a value of JSON, got {type(value).__name__}")


class _Context:
    """What the scanner takes its settings from; json.JSONDecoder has the same attributes."""

    __slots__ = ("object_hook", "object_pairs_hook", "parse_constant", "parse_float", "parse_int", "strict")

    def __init__(self, pairs: Callable[[Pairs], Any] | None) -> None:
        self.strict = True
        self.object_hook = None
        self.object_pairs_hook = pairs
        self.parse_float = float
        self.parse_int = int
        self.parse_constant = _CONSTANTS.__getitem__


# CPython's own scanner and encoder, around which `json` is wrapped. They are its private affair: where they are missing or want
# other arguments, `json` itself does the work.
_scan: Scan | None = None
_scan_unique: Scan | None = None
_encode: Callable[[Any, int], tuple[str, ...]] | None = None
try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    # typeshed has a scanner where CPython wants its settings
    _scan, _scan_unique = make_scanner(_Context(None)), make_scanner(_Context(_once))  # type: ignore[arg-type]
    # markers, default, encoder, indent, key_separator, item_separator, sort_keys, skipkeys, allow_nan
    _encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", True, False, True)
except (ImportError, AttributeError, TypeError):
    pass
