"""What ContainerEntrypoint and ContainerArguments run, and what is wrong with that. It does not know what is in the image."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from smentry.ctl.check import hooks, shell, wrappers
from smentry.ctl.check.parts import Breach, at, channels, mode, shards, text
from smentry.ctl.request.job import FILE
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from smentry.config import Settings
    from smentry.ctl.check.parts import Steps

_ALGORITHM = "AlgorithmSpecification"
_INTERPRETERS = re.compile(r"(?:python|pypy)[0-9.]*|torchrun|Rscript|perl|ruby|node|julia|make")
_DATA = "/opt/ml/input/data/"
_SCRIPT = re.compile(r"/opt/ml/input/data/([A-Za-z0-9._-]+)/([^\s'\";&|()]*)")
_OPTION_AND_VALUE = re.compile(r"--?[A-Za-z][\w.-]*\s+\S")
_VARIABLE = re.compile(r"\$(?:\{[A-Z_][A-Z0-9_]*\}|[A-Z_][A-Z0-9_]*)")


class Word(NamedTuple):
    """A word of the container's command, and where it stands."""

    text: str
    path: Steps


class Named(NamedTuple):
    """A script of a channel that something names."""

    channel: str
    script: str
    path: Steps


def breaches(request: Mapping[str, Any]) -> Iterator[Breach]:
    """Every rule that the container's command breaks."""
    entrypoint, arguments = _words(request, "ContainerEntrypoint"), _words(request, "ContainerArguments")
    words = [*entrypoint, *arguments]
    words = words[wrappers.of_env(_texts(words)) :]
    settings, refused = _smentry(request, entrypoint, words or arguments)
    yield from refused
    script = settings.script if settings else None
    if entrypoint:
        yield from _first(words)
    yield from _shell_words(entrypoint, arguments)
    named = list(_named(words))
    if script:
        channel, _, path = script.partition("/")
        named.append(Named(channel, path, _place_of("--script", "SMENTRY_SCRIPT", words, request)))
    yield from _scripts(request, named)


def _words(request: Mapping[str, Any], key: str) -> list[Word]:
    listed = at(request, _ALGORITHM, key)
    if not isinstance(listed, list):
        return []
    return [Word(word, (_ALGORITHM, key, index)) for index, word in enumerate(listed) if isinstance(word, str)]


def _base(word: Word) -> str:
    return os.path.basename(word.text)


# -- the first process -----------------------------------------------------------------------------


def _first(words: Sequence[Word]) -> Iterator[Breach]:
    """What is wrong with PID 1."""
    if not words:
        return
    taken = wrappers.of_init(_texts(words))
    init, rest = _base(words[0]) if taken else "", words[taken:]
    if init and not rest:
        yield Breach("SM321", words[0].path, f"{init} is given no program: expected one after it")
    elif init and _base(rest[0]) in ("train", "serve") and "/" not in rest[0].text:
        what = f"{init} looks for a program called {rest[0].text!r}: it does not know the platform's words"
        yield Breach("SM321", rest[0].path, what)
    elif rest and _base(rest[0]) in shell.SHELLS:
        reason = _of_shell(rest)
        to_group = init and any(word.text in ("-g", "--kill-process-group") for word in words[1 : -len(rest)])
        if reason and init and init != "dumb-init" and not to_group:
            what = f"{init} sends SIGTERM to {rest[0].text} alone, which dies of it; then the kernel kills {reason}"
            yield Breach("SM321", rest[0].path, what)
        elif reason and not init:
            what = f"{rest[0].text} is PID 1, and hands no SIGTERM on to {reason}"
            yield Breach("SM320", rest[0].path, what)
    run = _run_by(words)
    if run and run[0].text.startswith(_DATA):
        what = f"{run[0].text} is executed, and S3 keeps no mode bits: it is not executable"
        yield Breach("SM305", run[0].path, what)


def _texts(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]


def _command_of(words: Sequence[Word]) -> tuple[Word | None, Word | None]:
    """Of a shell's words: the text after -c, and the script; at most one of them is there."""
    rest, is_text = list(words[1:]), False
    while rest and rest[0].text[:1] in "-+" and len(rest[0].text) > 1:
        word = rest.pop(0).text
        if word == "--":
            break
        is_text |= not word.startswith(("--", "+")) and "c" in word
        if word in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file") and rest:
            del rest[0]
    first = rest[0] if rest else None
    return (first, None) if is_text else (None, first)


def _of_shell(words: Sequence[Word]) -> str:
    """What a shell runs that SIGTERM does not reach; empty where it does."""
    command, script = _command_of(words)
    if command is None:
        return script.text if script else "anything: it is given no script, and ends at once"
    found = shell.commands(command.text)
    if found and (found[-1].is_exec or any("TERM" in signals for _, _, signals in shell.traps(found))):
        return ""
    return " ".join(found[-1].program or found[-1].words)[:80] if found else "anything"


# -- the words themselves --------------------------------------------------------------------------


def _shell_words(entrypoint: Sequence[Word], arguments: Sequence[Word]) -> Iterator[Breach]:
    """Words that seem to wait for a shell which would take them apart."""
    from smentry import config

    if entrypoint and re.search(r"\s", entrypoint[0].text.strip()):
        what = f"{entrypoint[0].text!r} is one word, and no program is called that: expected a list of words"
        yield Breach("SM322", entrypoint[0].path, what)
    words = [*entrypoint, *arguments]
    for index, word in enumerate(words):
        before = words[index - 1].text if index else ""
        if before.startswith("-") or (index == 0 and entrypoint):
            continue  # the value of an option may be anything, a text for `sh -c` too
        is_command = word is arguments[0] if arguments else False
        if _OPTION_AND_VALUE.match(word.text) or (is_command and _is_command_line(word.text)):
            yield Breach("SM322", word.path, f"{word.text!r} is one word: expected a list of words")
    for index, word in enumerate(words):
        before = words[index - 1].text if index else ""
        if _VARIABLE.search(word.text) and not re.search(r"\s", word.text) and not _is_text_option(before):
            yield Breach("SM323", word.path, f"{word.text!r} arrives as it is: no shell puts a variable's value there")
        elif not before.startswith("-"):
            settings = config.Settings()
            config.warn_of_operators(settings, "", [word.text])
            if settings.warnings:
                yield Breach("SM323", word.path, f"{word.text!r} is a word like any other: no shell reads it")


def _is_command_line(line: str) -> bool:
    program, blank, _ = line.strip().partition(" ")
    name = os.path.basename(program)
    is_program = name in shell.SHELLS or name in ("train", "serve") or name.endswith((".sh", ".py"))
    return bool(blank) and (is_program or bool(_INTERPRETERS.fullmatch(name)))


def _is_text_option(word: str) -> bool:
    """Whether the word after this one is a text in a language of its own: `sh -c`, `bash -lc`, `python -c`."""
    return bool(re.fullmatch(r"-[a-z]*c", word))


# -- scripts of channels ---------------------------------------------------------------------------


def _named(words: Sequence[Word]) -> Iterator[Named]:
    """The scripts of channels that the words name: what is run, and every .sh and .py."""
    runs = _run_by(words)
    for index, word in enumerate(words):
        is_text = index > 0 and _is_text_option(words[index - 1].text)
        for found in _SCRIPT.finditer(word.text):
            is_whole = found.start() == 0 and found.end() == len(word.text)
            if (is_whole and word in runs) or ((is_whole or is_text) and found[2].endswith((".sh", ".py"))):
                yield Named(found[1], found[2], word.path)


def _run_by(words: Sequence[Word]) -> list[Word]:
    """The program, and the script of an interpreter."""
    if not words:
        return []
    rest = list(words)
    while taken := wrappers.of_init(_texts(rest)):
        rest = rest[taken:]
    if rest and _base(rest[0]) == "smentry":
        own = hooks.command(_texts(rest[1:]))
        return _run_by(rest[-len(own) :]) if own else []
    runs = rest[:1]
    if rest and _base(rest[0]) in shell.SHELLS:
        runs += [word for word in _command_of(rest)[1:] if word]
    elif rest and _INTERPRETERS.fullmatch(_base(rest[0])):
        runs += [word for word in rest[1:] if not word.text.startswith("-")][:1]
    return runs


def _scripts(request: Mapping[str, Any], named: Sequence[Named]) -> Iterator[Breach]:
    declared = {text(channel, "ChannelName"): (index, channel) for index, channel in channels(request)}
    done: set[str] = set()
    for name, script, path in named:
        if name in done:
            continue
        done.add(name)
        if name not in declared:
            listed = f"the channels are {', '.join(declared)}" if declared else "the request has no channels"
            yield Breach("SM304", path, f"{script!r} is looked for in the channel {name!r}: {listed}")
            continue
        index, channel = declared[name]
        place: Steps = ("InputDataConfig", index)
        used = mode(request, channel)
        if used != FILE:
            key: Steps = (*place, "InputMode") if "InputMode" in channel else place
            yield Breach(
                "SM302", key, f"{script!r} comes through the channel {name!r}, which is in {used} mode: expected {FILE}"
            )
        why = shards(request, channel)
        if why:
            member = "InstanceGroupNames" if "InstanceGroupNames" in why else "S3DataDistributionType"
            key = (*place, "DataSource", "S3DataSource", member)
            yield Breach("SM303", key, f"{script!r} comes through the channel {name!r}: {why}")


# -- smentry's own options -------------------------------------------------------------------------


def _smentry(
    request: Mapping[str, Any], entrypoint: Sequence[Word], words: Sequence[Word]
) -> tuple[Settings | None, list[Breach]]:
    """The settings of smentry, where it is what the request starts or may be so, and what is wrong with them."""
    if entrypoint and not (words and _base(words[0]) == "smentry"):
        return None, []
    listed = at(request, "Environment")
    environment = {
        name: value for name, value in (listed if isinstance(listed, dict) else {}).items() if isinstance(value, str)
    }
    own = list(words[1:]) if entrypoint else list(words)
    if not entrypoint and not (own and re.match(r"--script(?:=|$)", own[0].text)):
        own = []  # the image's ENTRYPOINT decides what these words mean

    def placed(code: str, message: str) -> Breach:
        return Breach(code, _place_in(message, own, environment, bool(entrypoint)), message)

    try:
        settings = hooks.resolved(_texts(own), environment)
    except RefusedError as refused:
        return None, [placed("SM501", refused.message)]
    found = [placed("SM504", warning) for warning in hooks.certain(settings.warnings)]
    late = hooks.beyond(settings, "train")
    if late:
        found.append(placed("SM503", late))
    return settings, found


def _place_in(message: str, words: Sequence[Word], environment: Mapping[str, str], is_named: bool) -> Steps:
    """Where that stands of which smentry's message speaks."""
    for name in environment:
        if re.search(rf"\b{re.escape(name)}\b", message) and name.startswith(("SMENTRY_", "TINI_")):
            return ("Environment", name)
    for word in words:
        option = word.text.partition("=")[0]
        if option.startswith("-") and re.search(rf"(?<!\S){re.escape(option)}(?![\w-])", message):
            return word.path
    return (_ALGORITHM, "ContainerEntrypoint" if is_named else "ContainerArguments")


def _place_of(option: str, variable: str, words: Sequence[Word], request: Mapping[str, Any]) -> Steps:
    for index, word in enumerate(words):
        if word.text.startswith(f"{option}="):
            return word.path
        if word.text == option and index + 1 < len(words):
            return words[index + 1].path
    return ("Environment", variable)
