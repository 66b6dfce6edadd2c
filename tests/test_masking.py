from __future__ import annotations

import json

import pytest

from smentry import masking


@pytest.mark.parametrize(
    "name",
    ["SECRET", "db_password", "Passphrase", "passwd", "AWS_SECRET_ACCESS_KEY", "api-key", "ApiKey", "HF_TOKEN", "privateKey",
     "aws_creds", "tokenizer_token", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "--api-token"],
)  # fmt: skip
def test_the_name_of_a_secret(name: str) -> None:
    assert masking.is_secret(name)


@pytest.mark.parametrize(
    "name", ["epochs", "PATH", "PWD", "SM_HPS", "learning-rate", "tokenizer_name", "keypoints", ""]
)
def test_any_other_name(name: str) -> None:
    assert not masking.is_secret(name)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["a", "--token", "x", "b"], ["a", "--token", "***", "b"]),
        (["--token", "--force", "x"], ["--token", "--force", "x"]),
        (["--token=x", "password:y", "KEY=", "=x"], ["--token=***", "password:***", "KEY=", "=x"]),
        (["--data", "https://me:x@host/p"], ["--data", "https://me:***@host/p"]),
        (["https://me@host/a:b@c", "http://host:80/@"], ["https://me@host/a:b@c", "http://host:80/@"]),
        (["my token=x"], ["my token=x"]),
    ],
)
def test_a_command_is_shown_without_secrets(words: list[str], shown: list[str]) -> None:
    assert masking.conceal(words) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("SM_HP_API_KEY", "x", "***"),
        ("SM_HP_API_KEY", "", ""),
        ("SM_HP_EPOCHS", "30", "30"),
        ("SM_HP_URL", "s3://a:b@c", "s3://a:***@c"),
        ("SM_HPS", '{"api_key":"x","b":{"password":"y"}, "c":1}', '{"api_key":"***","b":{"password":"***"},"c":1}'),
        ("SM_HPS", '{"c": 1}', '{"c": 1}'),
        ("SM_HPS", '{"keys":{"a":"x","b":["y",1]}}', '{"keys":{"a":"***","b":["***","***"]}}'),
        ("SM_HPS", '{"a": "{', '{"a": "{'),
        ("SM_USER_ARGS", '["--api_key","x","--epochs","3"]', '["--api_key","***","--epochs","3"]'),
        ("SM_TRAINING_ENV", '{"hyperparameters":{"url":"db://u:p@h"}}', '{"hyperparameters":{"url":"db://u:***@h"}}'),
    ],
)
def test_a_variable_is_shown_without_secrets(name: str, value: str, shown: str) -> None:
    assert masking.shown(name, value) == shown


def test_what_must_not_appear_in_a_text_is_known_from_the_environment() -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "API_TOKEN": "abcdefgh12345",
        "SM_HP_MAX_TOKENS": "4096",
        "SM_HPS": json.dumps(
            {"password": "hunter22!", "nested": {"my_key": ["also-secret"]}, "pin": 1, "key": 1234567890}
        ),
        "SM_USER_ARGS": json.dumps(["--password", "given-word", "--epochs", "30"]),
        "DATABASE": "postgres://me:long-password@host/db",
        "SHORT_SECRET": "abc",
    }
    found = masking.values(environment)
    assert found == ["abcdefgh12345", "long-password", "also-secret", "1234567890", "given-word", "hunter22!"]
    text = "cannot log in with abcdefgh12345 or hunter22! (4096 tokens, abc) at postgres://me:long-password@host/db"
    assert masking.mask(text, found) == "cannot log in with *** or *** (4096 tokens, abc) at postgres://me:***@host/db"


def test_no_depth_is_too_deep() -> None:
    for depth in (100, 900, 990, 5000, 100_000):
        value = "[" * depth + "]" * depth
        assert masking.shown("A", value) in (value, masking.HIDDEN)
        assert masking.values({"A": value, "A_KEY": "s3cret-12"}) == ["s3cret-12"]


def test_a_secret_that_holds_another_goes_whole() -> None:
    found = masking.values({"A_KEY": "secret-a", "B_KEY": "secret-a-and-b"})
    assert masking.mask("secret-a-and-b secret-a", found) == "*** ***"
