"""Hyperparameters as arguments, and what the kernel can pass of arguments and variables. It does not know what either means."""

from __future__ import annotations

import os

from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

PREFIX = "sagemaker_"
RESERVED = frozenset(
    (
        "sagemaker_program", "sagemaker_submit_directory", "sagemaker_enable_cloudwatch_metrics", "sagemaker_region",
        "sagemaker_container_log_level", "sagemaker_job_name", "default_user_module_name", "_tuning_objective_metric",
        "sagemaker_s3_output",
    )
)  # fmt: skip
"""Hyperparameters that the training toolkit keeps for itself; so it does with all that begin with `sagemaker_`."""

LONGEST = 32 * os.sysconf("SC_PAGE_SIZE") - 1
"""Bytes of the longest argument, and of the longest `NAME=value`, without the NUL at its end (MAX_ARG_STRLEN, execve(2))."""

_SPARE = 1 << 14
"""Bytes left free for what is added later: a hook's own variables, the name of the file."""


def users(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that are the program's, in their order."""
    return {
        name: value for name, value in hyperparameters.items() if name not in RESERVED and not name.startswith(PREFIX)
    }


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """`--name value` for each, `-n value` for a name of one letter, sorted by name."""
    words = []
    for name in sorted(hyperparameters):
        words.append(f"--{name}" if len(name) > 1 else f"-{name}" if name else "")
        words.append(_word(hyperparameters[name]))
    return words


def of_drivers(hyperparameters: Mapping[str, Any]) -> list[str]:
    """The same as the SageMaker Python SDK v3 has it: `--name value` for each, in their order, as JSON where it is no text."""
    import json  # as they do: with blanks, and keys in their order

    words = []
    for name, value in hyperparameters.items():
        words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _word(value: Any) -> str:
    """A value as the training toolkit writes it: Python's text of it, null as nothing, an object as `k=v,…`."""
    if isinstance(value, dict):
        return ",".join([f"{name}={part}" for name, part in sorted(value.items())])
    return "" if value is None else str(value)


# -- what the kernel can pass ----------------------------------------------------------------------


def check(hyperparameters: Mapping[str, Any], where: str) -> None:
    """Raise RefusedError for a hyperparameter that cannot be an argument; `where` is the file it is from.

    Leaving the argument out would be worse: the program would do its work with a default.
    """
    for name in sorted(hyperparameters):
        for what, word in (("its name", f"--{name}"), ("its value", _word(hyperparameters[name]))):
            unfit = why_unfit(word)
            if unfit:
                raise RefusedError(
                    f"{where}: {name[:64]!a}: {what} {unfit}, so it cannot be an argument: pass a file in a channel, or let the"
                    " program read the variables or this file, and give --hyperparameters environment or none"
                )


def fitting(
    variables: Mapping[str, str], argv: list[str], environment: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Those of the variables that can be passed beside `argv` and `environment`, and for the others a line each that says why.

    Raises RefusedError where not even the arguments fit.
    """
    kept: dict[str, str] = {}
    why: list[str] = []
    for name, value in variables.items():
        unfit = why_unfit(f"{name}={value}")
        if "=" in name:
            unfit = "has = in its name"
        if unfit:
            why.append(f"variable {name[:64]!a} is left out: it {unfit}")
        else:
            kept[name] = value
    rest = {name: value for name, value in environment.items() if name not in kept}
    total = _size(argv) + _size(f"{name}={value}" for name, value in [*rest.items(), *kept.items()])
    limit = _limit() if total > LONGEST else total
    if total > limit:
        for name in sorted(kept, key=lambda name: -len(kept[name])):
            total -= _size([f"{name}={kept.pop(name)}"])
            why.append(f"variable {name[:64]!a} is left out: all together are more than {limit} bytes (execve(2))")
            if total <= limit:
                break
        else:
            raise RefusedError(
                f"the program's arguments and variables are {total} bytes together, expected {limit} or fewer (execve(2)): let"
                " the program read hyperparameters.json, and give --hyperparameters none, or raise the limit of the stack"
            )
    return kept, why


def why_unfit(text: str) -> str:
    """Why a text can be no argument, nor a variable as `NAME=value`, such as `holds a NUL character`; empty where it can."""
    if "\0" in text:
        return "holds a NUL character"
    try:
        size = len(os.fsencode(text))
    except UnicodeEncodeError:
        return "cannot be written in the locale's encoding"
    return f"is {size} bytes long, expected {LONGEST} or fewer (execve(2))" if size > LONGEST else ""


def _size(texts: Iterable[str]) -> int:
    """Bytes that the kernel counts: each text, its NUL and the pointer to it."""
    return sum([len(os.fsencode(text)) + 9 for text in texts])


def _limit() -> int:
    """Bytes of all arguments and variables: a quarter of the stack's limit, 6 MiB at most, 128 KiB at least (execve(2))."""
    import resource

    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    most = 6 << 20
    quarter = most if stack == resource.RLIM_INFINITY else stack // 4
    return max(1 << 17, min(quarter, most)) - _SPARE
