"""The verbs `completion` and `man`: which text is asked for. They know nothing of shells or of roff."""

from __future__ import annotations

from smentry.ctl.manual.completion import SHELLS
from smentry.ctl.manual.description import PROGRAMS
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add the two verbs to the parser."""
    completion = commands.add_parser(
        "completion",
        help="write what makes a shell complete words",
        description="Write what makes a shell complete the words of smentryctl, or of smentry.",
        epilog='For bash and zsh put this line into ~/.bashrc or ~/.zshrc, after compinit: eval "$(smentryctl completion bash)". '
        "For fish: smentryctl completion fish >~/.config/fish/completions/smentryctl.fish.",
        allow_abbrev=False,
    )
    completion.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")
    completion.add_argument(
        "program", nargs="?", choices=PROGRAMS, default=PROGRAMS[0], help="of which program (%(default)s)"
    )
    completion.set_defaults(call=_completion)
    man = commands.add_parser(
        "man",
        help="write the manual page",
        description="Write the manual page of smentryctl, or of smentry, in roff. To read it: smentryctl man | man -l -",
        allow_abbrev=False,
    )
    man.add_argument("program", nargs="?", choices=PROGRAMS, default=PROGRAMS[0], help="of which program (%(default)s)")
    man.set_defaults(call=_man)


def _completion(arguments: argparse.Namespace) -> int:
    from smentry.ctl.manual import completion, description

    print(completion.script(description.of(arguments.program).parser, arguments.shell), end="")
    return 0


def _man(arguments: argparse.Namespace) -> int:
    import os
    import time

    from smentry.ctl.manual import description, manpage

    # A packager's page is to be the same each time: https://reproducible-builds.org/specs/source-date-epoch/
    given = os.environ.get("SOURCE_DATE_EPOCH") or str(int(time.time()))
    try:
        made = time.strftime("%Y-%m-%d", time.gmtime(int(given)))
    except (ValueError, OverflowError, OSError):
        raise RefusedError(f"SOURCE_DATE_EPOCH: expected seconds since 1970, got {given!r}") from None
    print(manpage.page(description.of(arguments.program), made), end="")
    return 0
