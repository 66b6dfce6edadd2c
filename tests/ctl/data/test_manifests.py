"""Manifests and augmented manifests, as texts."""

from __future__ import annotations

import json

import pytest

from smentry.ctl.data import manifests
from smentry.errors import RefusedError


def test_keys_are_appended_to_the_prefix_as_they_are() -> None:
    text = b'[{"prefix": "s3://b/some/prefix/"}, "relative/path/a", "b"]'
    assert manifests.manifest(text, "s3://b/m") == ("s3://b/some/prefix/", ["relative/path/a", "b"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a list of a prefix and at least one key"),
        ('[{"prefix": "s3://b/"}]', "expected a list of a prefix and at least one key"),
        ('["a", "b"]', r'\[0\]: expected {"prefix": .*}, got "a"'),
        ('[{"prefix": ""}, "b"]', r"\[0\]: expected"),
        ('[{"prefix": "s3://b/"}, "a", 7]', r"\[2\]: expected the rest of a key after the prefix, got 7"),
        ("[", "got no JSON: Expecting value: line 1 column 2"),
        ("\xff", "got no JSON"),
    ],
)
def test_a_broken_manifest_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(RefusedError, match=f"^s3://b/m.*{message}"):
        manifests.manifest(text.encode(), "s3://b/m")


@pytest.mark.parametrize("named", ["/etc/", "file:///etc/", "b/"])
def test_a_manifest_of_s3_names_no_file_of_this_machine(named: str) -> None:
    with pytest.raises(RefusedError, match=rf"^s3://b/m\[0\]: expected a URI such as s3://bucket/key, got '{named}'"):
        manifests.manifest(json.dumps([{"prefix": named}, "passwd"]).encode(), "s3://b/m")
    with pytest.raises(RefusedError, match=r"^s3://b/m:1: x-ref: expected a URI such as s3://bucket/key"):
        list(manifests.records(json.dumps({"x-ref": f"{named}passwd"}).encode(), "s3://b/m", ("x-ref",)))


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(RefusedError, match="got what is no UTF-8 text"):
        manifests.manifest(b"\xff\xfe", "s3://b/m")


def test_attributes_come_in_the_order_that_is_asked_for() -> None:
    lines = [
        {"author": "Herman Melville", "line": "Call me Ishmael", "book": "Moby Dick"},
        {"line": "It was love at first sight.", "author": "Joseph Heller", "book": "Catch-22"},
    ]
    text = "\n".join(map(json.dumps, lines)).encode()
    assert list(manifests.records(text, "m", ("book", "line"))) == [
        [("Moby Dick", False), ("Call me Ishmael", False)],
        [("Catch-22", False), ("It was love at first sight.", False)],
    ]


def test_a_reference_is_a_uri_and_other_values_are_json() -> None:
    text = b'{"image-ref": "s3://b/1.jpg", "is-a-cat": 1, "box": {"x": [1, 2.5]}, "none": null}\n\n'
    names = ("image-ref", "is-a-cat", "box", "none")
    values = [("s3://b/1.jpg", True), ("1", False), ('{"x": [1, 2.5]}', False), ("null", False)]
    assert list(manifests.records(text, "m", names)) == [values]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"b": 2}', "m:2: expected the attribute 'a'"),
        ("[1]", r"m:1: expected a JSON object, got \[1\]"),
        ('{"a": 1}\n\n{', "m:3: expected a JSON object, got no JSON"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(text: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        list(manifests.records(text.encode(), "m", ("a",)))


def test_a_reference_that_is_none_is_refused() -> None:
    with pytest.raises(RefusedError, match="m:1: x-ref: expected the URI of an object, got 3"):
        list(manifests.records(b'{"x-ref": 3}', "m", ("x-ref",)))


def test_attribute_names_are_needed() -> None:
    with pytest.raises(RefusedError, match="expected AttributeNames"):
        list(manifests.records(b"{}", "m", ()))
