"""Which of a channel's entries a host gets, in which order. Pure; what an entry is, it does not know.

The platform's documentation says of ShardedByS3Key that each of n instances gets approximately 1/n of the objects, and not
which ones. Here they are dealt out in order, one to each host in turn, so that no two hosts differ by more than one.

Of ShuffleConfig it says (API reference, ShuffleConfig): what the prefix or the manifest yields is shuffled; in Pipe mode
anew for every epoch; and with ShardedByS3Key across the instances, so that what one instance gets in the first epoch,
another may get in the second. So they are shuffled first, and dealt out after.
"""

from __future__ import annotations

import random

from smentry.ctl.request.job import SHARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    from smentry.ctl.request.job import Channel, Host

    Entry = TypeVar("Entry")


def receivers(channel: Channel, hosts: Sequence[Host]) -> list[str]:
    """The names of the hosts that get the channel: those of its instance groups, all of them where it names none."""
    return [host.name for host in hosts if not channel.groups or host.group in channel.groups]


def portion(channel: Channel, entries: Sequence[Entry], place: int, count: int, epoch: int = 0) -> list[Entry]:
    """What the host at `place` (from 0) of `count` gets in this epoch; the entries are all of the channel's, in order."""
    ordered = list(entries)
    if channel.shuffle_seed is not None:
        random.Random(f"{channel.shuffle_seed} {epoch}").shuffle(ordered)
    return ordered[place::count] if channel.distribution == SHARDED else ordered
