"""What has to be done before a program can start: code fetched, requirements installed, hosts awaited. It does none of it."""

from __future__ import annotations

import os

from smentry.errors import RefusedError
from smentry.sagemaker import inputs
from smentry.sagemaker.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smentry.sagemaker.layout import Layout
    from smentry.sagemaker.program import Found

VARIABLE, HYPERPARAMETER = "SAGEMAKER_SUBMIT_DIRECTORY", "sagemaker_submit_directory"
ARCHIVE = "sourcedir.tar.gz"
"""What the SageMaker Python SDK calls the code of a job that has no network, in the channel `code`."""
_EXPECTED = "expected a directory, a tar archive, or s3://BUCKET/KEY of one"


class Source:
    """Where code comes from: `text` as it was given, by `origin`; a local `path`, or `key` in an S3 `bucket`."""

    __slots__ = ("bucket", "key", "origin", "path", "text")

    def __init__(self, text: str, origin: str) -> None:
        self.text = text
        self.origin = origin
        self.path = self.bucket = self.key = ""


def is_there(layout: Layout) -> bool:
    """Whether the code directory holds something, all of it."""
    try:
        return bool(os.listdir(layout.code)) and not os.path.lexists(layout.unfinished)
    except OSError:
        return False


def submitted(layout: Layout, environment: Mapping[str, str]) -> Source | None:
    """Where the code comes from, None where that is the code directory itself. Raises RefusedError.

    The hyperparameter counts over the variable, as in the training toolkit: the image has the one, the job the other.
    """
    text = inputs.hyperparameters(layout).get(HYPERPARAMETER)
    origin = HYPERPARAMETER
    if text is None or text == "":
        text, origin = environment.get(VARIABLE), VARIABLE
    if not text:
        archive = os.path.join(layout.channel("code"), ARCHIVE)
        if not os.path.isfile(archive):
            return None
        text, origin = archive, "channel code"
    if not isinstance(text, str) or "\0" in text:
        raise RefusedError(f"{layout.hyperparameters}: {HYPERPARAMETER}: {_EXPECTED}, got {text!r}")
    source = _located(text, origin)
    return None if not source.bucket and os.path.realpath(source.path) == os.path.realpath(layout.code) else source


def left_alone(layout: Layout, environment: Mapping[str, str]) -> str:
    """The end of a sentence that says which code is not fetched, since there is some; empty where none would be."""
    try:
        source = submitted(layout, environment)
    except RefusedError:
        return ""  # what is not fetched may be wrong
    return f"; {layout.code} was not empty, so {source.text} ({source.origin}) is left alone" if source else ""


def _located(text: str, origin: str) -> Source:
    source = Source(text, origin)
    scheme, colon, rest = text.partition("://")
    if not colon:
        source.path = os.path.abspath(text)
    elif scheme == "file":
        from urllib.parse import unquote

        source.path = os.path.abspath(unquote(rest[rest.find("/") :]) if "/" in rest else rest)
    elif scheme == "s3":
        source.bucket, _, source.key = rest.partition("/")
        if not source.bucket or not source.key or source.key.endswith("/"):
            raise RefusedError(f"{origin}: expected s3://BUCKET/KEY of a tar archive, got {text!r}")
        return source
    else:  # not all of it: a presigned URL is a secret
        raise RefusedError(f"{origin}: {_EXPECTED}, got {f'{scheme}://…'!r}")
    if not os.path.exists(source.path):
        raise RefusedError(f"{origin}: no such file or directory: {source.path}: {_EXPECTED}")
    return source


def fetching(source: Source, layout: Layout, owner: tuple[int, int] | None) -> Step:
    """Fetch the code, as smentry's own user; it belongs to `owner` (uid, gid) then."""

    def fetch(say: Callable[[str], None]) -> int:
        from smentry.sagemaker import fetching

        return fetching.fetch(source, layout, owner, say)

    return Step("code", fetch, f"fetch {source.text} ({source.origin}) into {layout.code}", own=True)


def installing(find: Callable[[], Found], found: Found | None, environment: Mapping[str, str]) -> Step:
    """Install what the program that `find` finds then requires, as the program's user; `found` is what it finds now."""
    from smentry.sagemaker import requirements  # now: that user may not be able to read it

    what = "install what the program requires, if it does"
    if found is not None:
        what = f"install {'the package' if found.project else 'requirements.txt'} in {found.project or found.directory}"
    return Step("requirements", lambda say: requirements.install(find, environment, say), what)


def waiting(hosts: Sequence[str], limit: float) -> Step:
    """Wait until all hosts have an address, `limit` seconds at the longest."""

    def wait(say: Callable[[str], None]) -> int:
        from smentry.sagemaker import resolving

        return resolving.wait(hosts, limit, say)

    what = f"wait until {len(hosts)} hosts have an address, {limit:g} s at the longest"
    return Step("hosts", wait, what, own=True, late=True)
