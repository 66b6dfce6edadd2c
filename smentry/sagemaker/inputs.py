"""What the files under input/config say. It does not know what is done with it."""

from __future__ import annotations

import os
import stat

from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smentry.sagemaker.layout import Layout

FILE, FAST_FILE, PIPE = "File", "FastFile", "Pipe"
_MODES = (FILE, FAST_FILE, PIPE)
_REPLICATED, _SHARDED = "FullyReplicated", "ShardedByS3Key"


class Channel:
    """An input data channel; its mode is File, FastFile or Pipe.

    `sharded`: each host has a part of it only. `declared` is False where only the directory is there.
    """

    __slots__ = ("declared", "mode", "name", "sharded")

    def __init__(self, name: str, mode: str = FILE, *, sharded: bool = False, declared: bool = True) -> None:
        self.name = name
        self.mode = mode
        self.sharded = sharded
        self.declared = declared


def channels(layout: Layout) -> dict[str, Channel]:
    """The channels by name, in order: those of inputdataconfig.json, else the directories under input/data.

    A FIFO `NAME_0` there is the Pipe channel NAME. Raises RefusedError where the file is broken.
    """
    described = _read_object(layout.channels, "an object of channels")
    if described is None:
        return _found(layout)
    return {name: _channel(layout.channels, name, described[name]) for name in sorted(described)}


def _found(layout: Layout) -> dict[str, Channel]:
    found: dict[str, Channel] = {}
    try:
        names = sorted(os.listdir(layout.data))
    except OSError:
        return found
    for name in names:
        try:
            mode = os.stat(layout.channel(name)).st_mode
        except OSError:
            continue
        channel, underscore, epoch = name.rpartition("_")
        if stat.S_ISDIR(mode):
            found[name] = Channel(name, declared=False)
        elif stat.S_ISFIFO(mode) and underscore and epoch.isdigit():
            found[channel] = Channel(channel, PIPE, declared=False)
    return found


def _channel(path: str, name: str, value: Any) -> Channel:
    if not isinstance(value, dict):
        raise RefusedError(f'{path}: {name}: expected an object such as {{"TrainingInputMode": "File"}}, got {value!r}')
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise RefusedError(f"{path}: expected the name of a channel, got {name!r}")
    mode = value.get("TrainingInputMode", FILE)
    if mode not in _MODES:
        raise RefusedError(f"{path}: {name}.TrainingInputMode: expected File, FastFile or Pipe, got {mode!r}")
    distribution = value.get("S3DistributionType") or _REPLICATED
    if distribution not in (_REPLICATED, _SHARDED):
        raise RefusedError(
            f"{path}: {name}.S3DistributionType: expected {_REPLICATED} or {_SHARDED}, got {distribution!r}"
        )
    return Channel(name, mode, sharded=distribution == _SHARDED)


def program(layout: Layout) -> str | None:
    """The hyperparameter `sagemaker_program`, None where there is none. Raises RefusedError.

    The SageMaker Python SDK encodes them as JSON once more: both `train.py` and `"train.py"` occur.
    """
    parameters = _read_object(layout.hyperparameters, "an object of hyperparameters")
    value = (parameters or {}).get("sagemaker_program")
    if value is None:
        return None
    if isinstance(value, str) and value.startswith('"'):
        value = _decoded(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise RefusedError(f"{layout.hyperparameters}: sagemaker_program: expected the name of a file, got {value!r}")
    return value


def _decoded(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text  # then it is the name of a file, odd as it is


def _read_object(path: str, expected: str) -> dict[str, Any] | None:
    """The JSON object of a file, None where there is no such file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise RefusedError(f"{path}: expected a file with {expected}, got something else")
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    import json  # loads `re`: only where there is a file to read

    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RefusedError(f"{path}:{line}: expected UTF-8 text, got the byte 0x{data[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise RefusedError(f"{path}:{error.lineno}:{error.colno}: not JSON: {what}; expected {expected}") from None
    except _TwiceError as error:
        raise RefusedError(f"{path}: {error} is there twice: keep one") from None
    except (RecursionError, ValueError):
        raise RefusedError(f"{path}: expected {expected}, got what no platform writes") from None
    if not isinstance(value, dict):
        raise RefusedError(f"{path}: expected {expected}, got {_kind(value)}")
    return value


class _TwiceError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise _TwiceError(key)
        seen[key] = value
    return seen


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else f"{value!r}"
