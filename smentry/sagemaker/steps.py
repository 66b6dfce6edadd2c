"""What must be done before the program can start. It knows neither what is done nor how a process is started."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Step:
    """One thing to do before the program: `call` runs in a child process of its own.

    It says what happens by the function that it is given, a line at a time, and returns an exit code: where that is not 0, the
    job has failed, and the last lines say why. It may also become another program (execve(2)). `own`: it is done as smentry's
    own user, also where the program runs as another; `late`: after the user's start hooks; `name` is in front of every line, and
    `what` says what is done.
    """

    __slots__ = ("call", "late", "name", "own", "what")

    def __init__(
        self,
        name: str,
        call: Callable[[Callable[[str], None]], int],
        what: str,
        *,
        own: bool = False,
        late: bool = False,
    ) -> None:
        self.name = name
        self.call = call
        self.what = what
        self.own = own
        self.late = late
