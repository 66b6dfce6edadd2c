"""smentry with a defect: `BREAK=lifecycle.step` raises, `BREAK=linux.descendants:2` from the 2nd call on.

With `lifecycle.step@Signal` it raises at events of that name only.
"""

import importlib
import os

from smentry.__main__ import main

place, _, count = os.environ["BREAK"].partition(":")
place, _, event = place.partition("@")
module_name, _, function_name = place.partition(".")
module = importlib.import_module(f"smentry.pid1.{module_name}")
whole = getattr(module, function_name)
calls = []


def broken(*arguments, **options):
    if not event or any(type(argument).__name__ == event for argument in arguments):
        calls.append(1)
        if len(calls) >= int(count or "1"):
            raise RuntimeError("broken on purpose")
    return whole(*arguments, **options)


setattr(module, function_name, broken)
main()
