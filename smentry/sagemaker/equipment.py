"""What the program of a verb gets: its arguments, and the variables added to those of its container. It starts nothing."""

from __future__ import annotations

import os

from smentry.errors import RefusedError
from smentry.sagemaker import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smentry.sagemaker.environ import Facts
    from smentry.sagemaker.inputs import Inputs
    from smentry.sagemaker.layout import Layout
    from smentry.sagemaker.program import Found

ARGUMENTS, ENVIRONMENT, BOTH, NONE = "arguments", "environment", "both", "none"
"""How hyperparameters reach the program."""


class Equipment:
    """The program's words and its whole environment; `added` are the names in it that were set here."""

    __slots__ = ("added", "argv", "environment", "warnings")

    def __init__(self, argv: list[str], environment: Mapping[str, str]) -> None:
        self.argv = argv
        self.environment = dict(environment)
        self.added: list[str] = []
        self.warnings: list[str] = []

    def put(self, name: str, value: str) -> None:
        """Set a variable."""
        self.environment[name] = value
        self.added.append(name)


def equip(
    verb: str, found: Found, words: list[str], environment: Mapping[str, str], layout: Layout, how: str | None
) -> Equipment:
    """The equipment of `found` for the verb, with `words` as its last arguments. Raises RefusedError.

    `how` is one of the four ways, None for the usual one: both, but no arguments for a `train` on PATH, which the platform itself
    starts without any, nor for the SDK's own script.
    """
    if how is None:
        how = ENVIRONMENT if found.kind in (program.ON_PATH, program.SDK) else BOTH
    equipment = Equipment([*found.argv, *words], environment)
    if "PYTHONUNBUFFERED" not in environment:
        equipment.put("PYTHONUNBUFFERED", "1")
    if verb != "train":
        if "SM_MODEL_DIR" not in environment:
            equipment.put("SM_MODEL_DIR", layout.model)
        return equipment
    if found.kind == program.TOOLKIT:
        _find_modules(equipment, layout)
    if how != NONE:
        try:
            _pass(equipment, found, words, layout, how)
        except RecursionError:
            raise RefusedError(f"{layout.hyperparameters}: expected values that are nested less deep") from None
    return equipment


def _find_modules(equipment: Equipment, layout: Layout) -> None:
    """Let a script import what lies beside it in the code directory, from wherever in there it is run."""
    searched = equipment.environment.get("PYTHONPATH", "")
    if layout.code not in searched.split(":"):
        equipment.put("PYTHONPATH", f"{layout.code}:{searched}" if searched else layout.code)


def _pass(equipment: Equipment, found: Found, words: list[str], layout: Layout, how: str) -> None:
    from smentry.sagemaker import arguments, environ, inputs

    known = inputs.read(layout)
    if how != ENVIRONMENT:
        users = arguments.users(known.hyperparameters)
        arguments.check(users, layout.hyperparameters)
        write = arguments.of_drivers if found.kind == program.ENTRY else arguments.arguments
        equipment.argv = [*found.argv, *write(users), *words]
    made = {}
    if how != ARGUMENTS:
        facts = _facts(known, found, equipment.environment, layout)
        made = environ.variables(known, layout, equipment.environment, facts)
    kept, left_out = arguments.fitting(made, equipment.argv, equipment.environment)
    for name in kept:
        equipment.put(name, kept[name])
    for name in made:
        if name not in kept:
            equipment.environment.pop(name, None)  # a value of somebody else's would be taken for this one
    equipment.warnings.extend(f"{line}; {layout.hyperparameters} has it all" for line in left_out)


def _facts(known: Inputs, found: Found, environment: Mapping[str, str], layout: Layout) -> Facts:
    from smentry.sagemaker import environ, hardware, inputs

    facts = environ.Facts(
        found.label if found.directory else "",
        (layout.code if found.kind == program.TOOLKIT else found.directory) or "",
        cpus=hardware.cpus(),
        gpus=hardware.gpus(environment),
        neurons=hardware.neurons(known.resources.instance_type),
    )
    drivers = layout.channel("sm_drivers")
    if os.path.isdir(drivers):
        facts.source = inputs.driver(drivers, "sourcecode.json")
        facts.distributed = inputs.driver(drivers, "distributed.json")
    return facts
