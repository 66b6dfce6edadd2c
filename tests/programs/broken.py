"""smentry with a defect: `BREAK=lifecycle.step` raises, `BREAK=linux.descendants:2` from the 2nd call on.

With `lifecycle.step@Signal` it raises at events of that name only; `timeline.Timeline.told` is a method. With
`BREAK_AFTER=NAME` it raises only when there is a file of that name in the state directory; with `BREAK_WHEN=NAME` it
waits for that file.
"""

import importlib
import os
import time

from smentry.__main__ import main

place, _, count = os.environ["BREAK"].partition(":")
place, _, event = place.partition("@")
module_name, _, function_name = place.partition(".")
holder = importlib.import_module(f"smentry.pid1.{module_name}")
class_name, _, method_name = function_name.partition(".")
if method_name:
    holder, function_name = getattr(holder, class_name), method_name
whole = getattr(holder, function_name)
after = os.path.join(os.environ["STATE"], os.environ.get("BREAK_AFTER", ""))
when = os.path.join(os.environ["STATE"], os.environ.get("BREAK_WHEN", ""))
calls = []


def broken(*arguments, **options):
    if os.path.exists(after) and (not event or any(type(argument).__name__ == event for argument in arguments)):
        calls.append(1)
        if len(calls) >= int(count or "1"):
            while not os.path.exists(when):
                time.sleep(0.01)
            raise RuntimeError("broken on purpose")
    return whole(*arguments, **options)


setattr(holder, function_name, broken)
main()
