"""Reading a request's file: its value, the places of its parts, and what is said of a file that is none."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from smentry.ctl.request import document, reading
from smentry.errors import RefusedError

from .requests import large


def refusal(text: str, *, as_yaml: bool = False) -> str:
    with pytest.raises(RefusedError) as refused:
        document.parse("job.yaml" if as_yaml else "job.json", text, as_yaml=as_yaml)
    return refused.value.message


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_as_it_was_written(tmp_path: Path, indent: int | str | None) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(large(), indent=indent), encoding="utf-8")
    assert reading.read(str(file)) == large()


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"a": 1}', encoding="utf-8-sig")
    assert reading.read(str(file)) == {"a": 1}


def test_a_hyphen_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1')))
    with pytest.raises(RefusedError, match=r"^stdin:1:8: not JSON: expecting ',' delimiter$"):
        document.load("-")


def test_yaml_is_read_as_the_command_line_of_aws_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "TrainingJobName: yes\n"
        "HyperParameters: {date: 2024-01-01, octal: 017, flag: true, none: ~, float: 1e3, text: '1', time: 12:30}\n"
        "ResourceConfig: &r\n  InstanceCount: 2\n"
        "Other: *r\n",
        encoding="utf-8",
    )
    assert reading.read(str(file)) == {
        "TrainingJobName": "yes",
        "HyperParameters": {
            "date": "2024-01-01", "octal": "017", "flag": True, "none": None, "float": 1000.0, "text": "1", "time": "12:30",
        },
        "ResourceConfig": {"InstanceCount": 2},
        "Other": {"InstanceCount": 2},
    }  # fmt: skip


def test_every_part_has_its_place() -> None:
    text = '{\n\t"A": {"B": [1,\n  {"C": "\\u00fc\\/"}]},\n  "D": null}'
    read = document.parse("job.json", text)
    assert read.place(("A",)) == (2, 2)
    assert read.place(("A", "B")) == (2, 8)
    assert read.place(("A", "B", 0)) == (2, 14)
    assert read.place(("A", "B", 1, "C")) == (3, 4)
    assert read.where(("D",)) == "job.json:4:3"


@pytest.mark.parametrize("as_yaml", [False, True])
def test_a_number_of_thousands_of_digits_is_refused_without_advice_for_programmers(as_yaml: bool) -> None:
    said = refusal('{"a": ' + "9" * 5000 + "}", as_yaml=as_yaml)
    assert said.endswith("integer string conversion: value has 5000 digits")


def test_what_is_missing_has_the_place_of_what_is_around_it() -> None:
    read = document.parse("job.json", '{"A":\n {"B": 1}}')
    assert read.place(("A", "X", "Y")) == (1, 2)
    assert read.place(("X",)) == (1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "job.json:1:1: not JSON: expecting value"),
        ('{\n "a": 1\n "b": 2}', "job.json:3:2: not JSON: expecting ',' delimiter"),
        ("{'a': 1}", "job.json:1:2: not JSON: expecting property name enclosed in double quotes"),
        ('{"a": "b', "job.json:1:7: not JSON: unterminated string"),
        ('{"a": "\n"}', "job.json:1:8: not JSON: invalid control character"),
        ('{"a": NaN}', "job.json: not JSON: expected a number, got NaN"),
        ("[1]", "job.json:1:1: expected an object with the members of CreateTrainingJob, got a list"),
        ("null", "job.json:1:1: expected an object with the members of CreateTrainingJob, got nothing"),
        ('{"a": 1,\n "a": 2}', "job.json:2:2: 'a' is there twice, first in line 1"),
        ('{"x": [{"a": 1, "a": 2}]}', "job.json:1:17: 'a' is there twice, first in line 1"),
        ("[" * 100_000, "job.json: not JSON: nested too deeply"),
        ('{"a":' * 40 + "1" + "}" * 40, "job.json:1:166: not a request: nested too deeply, or too large"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_place(text: str, said: str) -> None:
    assert refusal(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "job.yaml:1:6: not YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence"),
        ("a: 1\na: 2\n", "job.yaml:2:1: 'a' is there twice, first in line 1"),
        ("a: &a [*a]\n", "job.yaml:1:4: not a request: nested too deeply, or too large"),
        ("1: 2\n", "job.yaml:1:1: expected a name in text, got '1'"),
        ("? [1]\n: 2\n", "job.yaml:1:3: expected a name in text, got a list or a mapping"),
        ("- 1\n", "job.yaml:1:1: expected an object with the members of CreateTrainingJob, got a list"),
        ("", "job.yaml:1:1: expected an object with the members of CreateTrainingJob, got nothing"),
        ("a: !!python/object:os.system x\n", "job.yaml:1:4: not YAML: could not determine a constructor for the tag "),
        ("a: !!int x\n", "job.yaml: not YAML: invalid literal for int()"),
        ("a: \0\n", "job.yaml: not YAML: "),
    ],
)
def test_what_is_no_yaml_mapping_is_refused_with_the_place(text: str, said: str) -> None:
    assert refusal(text, as_yaml=True).startswith(said)


def test_aliases_that_stand_for_billions_are_refused() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{to}: &{to} [{','.join(['*' + of] * 10)}]" for of, to in zip("abcdefgh", "bcdefghi")]
    assert "too large" in refusal("\n".join(lines), as_yaml=True)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"nix.json cannot be read: no such file or directory$"):
        document.load(str(tmp_path / "nix.json"))
    with pytest.raises(RefusedError, match=r"is a directory: expected a file with a CreateTrainingJob request$"):
        document.load(str(tmp_path))
    (tmp_path / "latin.json").write_bytes(b'{\n"a": "\xfc"}')
    with pytest.raises(RefusedError, match=r"latin.json:2:7: expected UTF-8 text, got the byte 0xfc$"):
        document.load(str(tmp_path / "latin.json"))
    (tmp_path / "large.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(RefusedError, match="is larger than 1 MiB"):
        document.load(str(tmp_path / "large.json"))
