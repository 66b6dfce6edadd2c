"""What is said of the two programs agrees with what they say of themselves."""

from __future__ import annotations

import re

from smentry import cli, config
from smentry.ctl import main
from smentry.ctl.manual import description


def test_smentry_has_every_option_of_the_table_and_the_help_and_no_other() -> None:
    parser = description.of("smentry").parser
    described = {name for action in parser._actions for name in action.option_strings}
    listed = {f"--{option.name}" for option in config.OPTIONS}
    listed |= {f"-{letter}" for option in config.OPTIONS for letter in option.letters}
    assert described == listed | {"-s", "-l", "-h", "--help", "-V", "--version"}
    for option in set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", cli.help_text())) - {"-m"}:  # of python -m
        assert option in described


def test_what_is_said_of_an_option_is_what_the_help_says() -> None:
    said = {name: action.help for action in description.of("smentry").parser._actions for name in action.option_strings}
    for option in config.OPTIONS:
        assert said[f"--{option.name}"] == option.help


def test_what_an_option_may_be_is_what_smentry_takes() -> None:
    parser = description.of("smentry").parser
    options = {option.attribute: option for option in config.OPTIONS}
    chosen = [action for action in parser._actions if action.choices and action.option_strings]
    assert {action.dest for action in chosen} >= {"scope", "log_format", "profile", "serve_signal"}
    for action in chosen:
        for choice in action.choices or ():
            if choice not in ("KILL", "STOP", "CHLD"):  # signals that nobody can ask for
                config.value_of(options[action.dest], choice, action.dest)


def test_the_ways_to_call_smentry_are_those_of_its_help() -> None:
    assert description.of("smentry").usage == (
        "smentry [OPTIONS] train|serve [ARG...]",
        "smentry [OPTIONS] --script CHANNEL/PATH [train|serve] [ARG...]",
        "smentry [OPTIONS] [--] COMMAND [ARG...]",
        "smentry",
    )


def test_the_exit_codes_of_smentry_are_those_of_its_help() -> None:
    said = cli.help_text().partition("Exit code:")[2]
    codes = {code for code, _ in description.of("smentry").exit_codes}
    assert set(re.findall(r"128\+N|\b\d+(?!\+)\b", said)) - {"128"} == codes - {"0, …"}


def test_every_verb_of_smentryctl_has_a_way_to_call_it_on_one_line() -> None:
    usage = description.of("smentryctl").usage
    verbs = description.verbs(main.parser())
    assert [line.split()[1] for line in usage[1:]] == list(verbs)
    assert not any("\n" in line for line in usage)
