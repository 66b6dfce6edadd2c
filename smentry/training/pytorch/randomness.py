"""The random numbers of a process: where Python's, NumPy's and PyTorch's generators are, and going on from there.

It knows generators, not what they are drawn for. What it gives out is made of tensors, numbers, strings and tuples alone, as
`torch.load(weights_only=True)` takes it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from typing import Any

import torch


def states(generators: Iterable[torch.Generator] = ()) -> dict[str, Any]:
    """Where the generators of this process are: `python`, `torch`, `cuda` (of its device), `numpy` where loaded, `others`."""
    found: dict[str, Any] = {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "others": [generator.get_state() for generator in generators],
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        kind, keys, position, has_gauss, gauss = numpy.random.get_state()
        found["numpy"] = (kind, keys.tolist(), int(position), int(has_gauss), float(gauss))
    return found


def restore(found: dict[str, Any], generators: Iterable[torch.Generator] = ()) -> None:
    """Let the generators go on from where they were. What is not there is left alone."""
    random.setstate(found["python"])
    torch.set_rng_state(found["torch"])
    if "cuda" in found and torch.cuda.is_available():
        torch.cuda.set_rng_state(found["cuda"])
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy" in found:
        numpy.random.set_state(found["numpy"])
    for generator, state in zip(generators, found["others"]):
        generator.set_state(state)


def of_loader(loader: object) -> list[torch.Generator]:
    """The generators that a data loader was given, itself or in its samplers."""
    found: list[torch.Generator] = []
    batches = getattr(loader, "batch_sampler", None)
    for holder in (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator) and all(generator is not each for each in found):
            found.append(generator)
    return found
