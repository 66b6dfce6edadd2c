"""What the files under input/config say. It does not know what is done with it."""

from __future__ import annotations

import os
import stat

from smentry import jsontext
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smentry.sagemaker.layout import Layout

FILE, FAST_FILE, PIPE = "File", "FastFile", "Pipe"
_MODES = (FILE, FAST_FILE, PIPE)
_REPLICATED, _SHARDED = "FullyReplicated", "ShardedByS3Key"


LOCAL_GROUP = "homogeneousCluster"
"""The instance group of a job that has no others, and of a local run."""


class Channel:
    """An input data channel; its mode is File, FastFile or Pipe.

    `sharded`: each host has a part of it only. `declared` is False where only the directory is there. `raw` is what the file
    says of it.
    """

    __slots__ = ("declared", "mode", "name", "raw", "sharded")

    def __init__(
        self,
        name: str,
        mode: str = FILE,
        *,
        sharded: bool = False,
        declared: bool = True,
        raw: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.mode = mode
        self.sharded = sharded
        self.declared = declared
        self.raw = {"TrainingInputMode": mode} if raw is None else raw


class Resources:
    """The job's hosts and this one's place among them; `raw` is the object of the file, or what stands for it in a local run.

    `group` is the name of this host's instance group; `groups` are objects with `instance_group_name` and `hosts`.
    """

    __slots__ = ("current_host", "group", "groups", "hosts", "instance_type", "network_interface", "raw", "topology")

    def __init__(self, raw: dict[str, Any], current_host: str, hosts: list[str]) -> None:
        self.raw = raw
        self.current_host = current_host
        self.hosts = hosts
        self.network_interface = raw.get("network_interface_name") or "eth0"
        self.instance_type = raw.get("current_instance_type") or "local"
        self.group = raw.get("current_group_name") or LOCAL_GROUP
        self.groups: list[dict[str, Any]] = raw.get("instance_groups") or []
        self.topology = raw.get("topology", [])

    @property
    def rank(self) -> int:
        """This host's place among the hosts, sorted by name; 0 is the master."""
        return sorted(self.hosts).index(self.current_host)


class Inputs:
    """All that the platform says about a job. `hyperparameters` are decoded, the platform's own among them."""

    __slots__ = ("channels", "hyperparameters", "resources")

    def __init__(self, hyperparameters: dict[str, Any], channels: dict[str, Channel], resources: Resources) -> None:
        self.hyperparameters = hyperparameters
        self.channels = channels
        self.resources = resources


def read(layout: Layout) -> Inputs:
    """The three files, or what stands for those that are not there. Raises RefusedError where one is broken."""
    return Inputs(hyperparameters(layout), _channels(layout), resources(layout))


# -- hyperparameters.json --------------------------------------------------------------------------


def hyperparameters(layout: Layout) -> dict[str, Any]:
    """The hyperparameters by name, in the file's order; none where there is no file. Raises RefusedError.

    The platform passes texts. Each is decoded as JSON where it is that, and kept where it is not: `1e-4` is a number, `00123`
    a text; so does the training toolkit.
    """
    texts = _read_object(layout.hyperparameters, "an object of hyperparameters") or {}
    return {name: jsontext.value_or_text(text) if isinstance(text, str) else text for name, text in texts.items()}


def program(layout: Layout) -> str | None:
    """The hyperparameter `sagemaker_program`, None where there is none. Raises RefusedError.

    The SageMaker Python SDK encodes them as JSON once more: both `train.py` and `"train.py"` occur.
    """
    parameters = _read_object(layout.hyperparameters, "an object of hyperparameters")
    value = (parameters or {}).get("sagemaker_program")
    if value is None:
        return None
    if isinstance(value, str) and value.startswith('"'):
        value = jsontext.value_or_text(value)
    if not isinstance(value, str) or not value or not _can_name(value):
        raise RefusedError(f"{layout.hyperparameters}: sagemaker_program: expected the name of a file, got {value!r}")
    return value


def _can_name(text: str) -> bool:
    """Whether a file can have this name. JSON can hold half a character ("\\ud800")."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


# -- resourceconfig.json ---------------------------------------------------------------------------


def resources(layout: Layout) -> Resources:
    """The hosts of a training or processing job; in a local run, without a file, this machine. Raises RefusedError."""
    for path in (layout.resources, layout.processing_resources):
        raw = _read_object(path, "an object with current_host and hosts")
        if raw is not None:
            return _resources(path, raw)
    host = os.uname().nodename
    group = {"instance_group_name": LOCAL_GROUP, "instance_type": "local", "hosts": [host]}
    raw = {"current_host": host, "hosts": [host], "current_instance_group": LOCAL_GROUP, "instance_groups": [group]}
    return Resources(raw, host, [host])


def _resources(path: str, raw: dict[str, Any]) -> Resources:
    for name in ("current_host", "network_interface_name", "current_instance_type", "current_group_name"):
        if raw.get(name) is not None and not (isinstance(raw[name], str) and raw[name]):
            raise RefusedError(f"{path}: {name}: expected a name, got {_kind(raw[name])}")
    current_host = raw.get("current_host") or os.uname().nodename
    hosts = _names(path, "hosts", raw.get("hosts", [current_host]))
    if current_host not in hosts:
        raise RefusedError(f"{path}: current_host: expected one of hosts ({', '.join(hosts)}), got {current_host!r}")
    groups = raw.get("instance_groups") or []
    if not isinstance(groups, list):
        raise RefusedError(f"{path}: instance_groups: expected a list, got {_kind(groups)}")
    for index, group in enumerate(groups):
        where = f"instance_groups[{index}]"
        if not isinstance(group, dict) or not isinstance(group.get("instance_group_name"), str):
            raise RefusedError(f"{path}: {where}: expected an object with instance_group_name and hosts, got {group!r}")
        _names(path, f"{where}.hosts", group.get("hosts"))
    return Resources(raw, current_host, hosts)


def _names(path: str, where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise RefusedError(f"{path}: {where}: expected a list of names, got {'[]' if value == [] else _kind(value)}")
    for name in value:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise RefusedError(f"{path}: {where}: expected a list of names, got one with {_kind(name)}")
    return value


# -- inputdataconfig.json --------------------------------------------------------------------------


def channels(layout: Layout) -> dict[str, Channel]:
    """The channels, sorted by name: those of inputdataconfig.json, else the directories under input/data.

    A FIFO `NAME_0` there is the Pipe channel NAME. Raises RefusedError where the file is broken.
    """
    return dict(sorted(_channels(layout).items()))


def _channels(layout: Layout) -> dict[str, Channel]:
    """The same in the file's order."""
    described = _read_object(layout.channels, "an object of channels")
    if described is None:
        return _found(layout)
    return {name: _channel(layout.channels, name, value) for name, value in described.items()}


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
    return Channel(name, mode, sharded=distribution == _SHARDED, raw=value)


# -- the channel sm_drivers ------------------------------------------------------------------------


def driver(directory: str, name: str) -> dict[str, Any]:
    """One of the files with which the SageMaker Python SDK tells its drivers what to do; empty where it is not there."""
    return _read_object(os.path.join(directory, name), "an object") or {}


# -- a file ---------------------------------------------------------------------------------------


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
    try:
        value = jsontext.loads(data.decode("utf-8-sig"), unique=True)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RefusedError(f"{path}:{line}: expected UTF-8 text, got the byte 0x{data[error.start]:02x}") from None
    except jsontext.TwiceError as error:
        raise RefusedError(f"{path}: {error} is there twice: keep one") from None
    except (RecursionError, ValueError) as error:
        place, what = _broken(error)
        raise RefusedError(
            f"{path}{place}: {what}; expected {expected}" if place else f"{path}: expected {expected}, {what}"
        ) from None
    if not isinstance(value, dict):
        raise RefusedError(f"{path}: expected {expected}, got {_kind(value)}")
    return value


def _broken(error: Exception) -> tuple[str, str]:
    """Line and column of what is wrong with a JSON text, and what it is."""
    import json  # the broken text has loaded it

    if isinstance(error, json.JSONDecodeError):
        return f":{error.lineno}:{error.colno}", f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
    return "", "got what no platform writes"


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else f"{value!r}"
