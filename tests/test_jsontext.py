from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smentry import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)
"""Everything JSON can say, lone surrogates and numbers that are none included."""

LOOSE = st.text('[]{}":,. \t\n\r\\0123456789eE+-truefalsnNIity\ufeff', max_size=12)
"""Texts that are nearly JSON."""


def outcome(call: Any, *arguments: Any, **keywords: Any) -> str:
    """The value, told apart from all others (NaN, 1 and 1.0, the order of keys), or the error in full."""
    try:
        return repr(call(*arguments, **keywords))
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


@given(VALUES)
def test_it_writes_what_json_writes(value: Any) -> None:
    assert jsontext.dumps(value) == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@given(
    st.one_of(VALUES.map(json.dumps), VALUES.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1)), LOOSE)
)
def test_it_reads_what_json_reads_and_fails_where_json_fails(text: str) -> None:
    assert outcome(jsontext.loads, text) == outcome(json.loads, text)


@given(LOOSE)
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = text
    assert repr(jsontext.value_or_text(text)) == repr(expected)


def test_what_is_beyond_the_limits_stays_as_it_is() -> None:
    for text in ("[" * 200_000, '{"a":' * 200_000):
        assert jsontext.value_or_text(text) is text


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 3}', '[{"x": {"a": 1, "a": 1}}]'])
def test_a_key_may_be_there_once_only_where_that_is_asked_for(text: str) -> None:
    assert jsontext.loads(text) == json.loads(text)
    with pytest.raises(jsontext.TwiceError, match=r"^a$"):
        jsontext.loads(text, unique=True)


def test_without_pythons_own_scanner_json_does_the_work() -> None:
    program = """if True:
        import sys
        sys.modules["_json"] = None
        from smentry import jsontext
        assert jsontext._scan is None
        print(jsontext.loads(' {"b": [1, null], "a": 1e-4}'), jsontext.value_or_text("00123"), jsontext.value_or_text("7"))
        print(jsontext.dumps({"b": "ü", "a": [1.5, True]}))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == '{\'b\': [1, None], \'a\': 0.0001} 00123 7\n{"a":[1.5,true],"b":"\\u00fc"}\n'


@pytest.mark.parametrize("text", ["resnet50", "00123", "1 2", "-", "", "nul", "s3://bucket/key", "True"])
def test_a_text_costs_no_import(text: str) -> None:
    program = "import sys; from smentry import jsontext; assert jsontext.value_or_text(sys.argv[1]) == sys.argv[1]"
    check = "; print([name for name in ('re', 'json') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program + check, text], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("text", ['"a', "[1, 2", "{a: 1}", '{"a" 1}', "[1}"])
def test_what_only_begins_like_json_stays_as_it_is_whether_json_is_loaded_or_not(text: str) -> None:
    program = "import sys; from smentry import jsontext; print(jsontext.value_or_text(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, text], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{text}\n"
