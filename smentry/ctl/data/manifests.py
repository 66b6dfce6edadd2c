"""What manifests say, as texts: which objects a channel has, or which values and objects in which order. It reads nothing."""

from __future__ import annotations

import json

from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_REFERENCE = "-ref"
"""How the name of an attribute ends whose value is the URI of an object."""


def manifest(text: bytes, uri: str) -> tuple[str, list[str]]:
    """The prefix of a manifest, and what is appended to it for each object. Raises RefusedError.

    `[{"prefix": "s3://bucket/some/prefix/"}, "relative/path/to/a", …]` (API reference, S3DataSource): the elements are
    appended to the prefix as they are, without a slash between them.
    """
    elements = _parsed(text, uri, 'a list such as [{"prefix": "s3://bucket/prefix/"}, "key", …]')
    if not isinstance(elements, list) or len(elements) < 2:
        raise RefusedError(f"{uri}: expected a list of a prefix and at least one key after it")
    first, *keys = elements
    prefix = first.get("prefix") if isinstance(first, dict) else None
    if not isinstance(prefix, str) or not prefix:
        raise RefusedError(f'{uri}[0]: expected {{"prefix": "s3://bucket/prefix/"}}, got {json.dumps(first)}')
    _see_that_it_is_a_uri(prefix, f"{uri}[0]")
    for index, key in enumerate(keys, 1):
        if not isinstance(key, str) or not key:
            raise RefusedError(f"{uri}[{index}]: expected the rest of a key after the prefix, got {json.dumps(key)}")
    return prefix, keys


def records(text: bytes, uri: str, attributes: Sequence[str]) -> Iterator[list[tuple[str, bool]]]:
    """The values of the attributes in each line of an augmented manifest, in this order, and which are an object's URI.

    Raises RefusedError where a line is no JSON object, or lacks one of them. Each line is a whole JSON object; attributes that
    are not asked for are passed over (developer guide, Augmented Manifest Files). A text is passed on as it is, any other
    value as JSON.
    """
    if not attributes:
        raise RefusedError(f"{uri}: expected AttributeNames for an augmented manifest, got none")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{uri}:{number}"
        values = _parsed(line, where, "a JSON object")
        if not isinstance(values, dict):
            raise RefusedError(f"{where}: expected a JSON object, got {json.dumps(values)[:80]}")
        yield [_value(values, name, where) for name in attributes]


def _value(values: dict[str, Any], name: str, where: str) -> tuple[str, bool]:
    if name not in values:
        raise RefusedError(f"{where}: expected the attribute {name!r}, which AttributeNames lists; there is none")
    value = values[name]
    if not name.endswith(_REFERENCE):
        return value if isinstance(value, str) else json.dumps(value), False
    if not isinstance(value, str) or not value:
        raise RefusedError(f"{where}: {name}: expected the URI of an object, got {json.dumps(value)}")
    _see_that_it_is_a_uri(value, f"{where}: {name}")
    return value, True


def _see_that_it_is_a_uri(value: str, where: str) -> None:
    """Raise RefusedError where a manifest of S3 names a file of this machine: on the platform there is none."""
    if where.startswith("s3://") and not value.startswith("s3://"):
        raise RefusedError(f"{where}: expected a URI such as s3://bucket/key, got {value!r}")


def _parsed(text: bytes, where: str, expected: str) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RefusedError(f"{where}: expected {expected}, got what is no UTF-8 text") from None
    except (RecursionError, ValueError) as error:
        raise RefusedError(f"{where}: expected {expected}, got no JSON: {error}") from None
