"""One object of S3 into a file. It knows boto3, and neither what the object is nor where it is to go."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MISSING = "boto3 is not installed beside smentry: pip install 'smentry[s3]'"
_ENDPOINTS = ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""The training toolkit's variable, then those of the AWS SDKs, which boto3 reads by itself only since 1.28."""
_REGIONS = ("AWS_REGION", "SAGEMAKER_REGION", "AWS_DEFAULT_REGION")

_HINTS = {
    "403": "the job's role needs s3:GetObject on it",
    "AccessDenied": "the job's role needs s3:GetObject on it",
    "404": "there is no such object, or the job's role may not see it (s3:ListBucket)",
    "NoSuchKey": "there is no such object",
    "NoSuchBucket": "there is no such bucket",
}


class DownloadError(Exception):
    """It cannot be had; the text says why, and what would help."""


def download(bucket: str, key: str, path: str, environment: Mapping[str, str]) -> int:
    """Write the object to the file `path`, and return its size in bytes. Raises DownloadError."""
    client = connect("s3", environment, next((environment[name] for name in _ENDPOINTS if environment.get(name)), None))
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.download_file(bucket, key, path)
        return os.path.getsize(path)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        hint = _HINTS.get(code)
        raise DownloadError(
            f"S3 says {error.response.get('Error', {}).get('Message') or code} ({code}){f': {hint}' if hint else ''}"
        ) from None
    except (BotoCoreError, Boto3Error) as error:
        raise DownloadError(one_line(error)) from None
    except OSError as error:
        raise DownloadError(f"cannot be written to {path}: {(error.strerror or str(error)).lower()}") from None


def connect(
    service: str, environment: Mapping[str, str], endpoint: str | None = None, region: str | None = None
) -> Any:
    """A client of an AWS service, in the region of the job. Raises DownloadError, where boto3 is missing too."""
    import signal
    import warnings

    # The program's dispositions have no place here: a server that hangs up must be an error, not the end (send(2), EPIPE).
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # what boto3 thinks of the interpreter is no affair of the job's log
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise DownloadError(MISSING) from None
    region = region or next((environment[name] for name in _REGIONS if environment.get(name)), None)
    config = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 6})
    try:
        return boto3.session.Session().client(service, region_name=region, endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise DownloadError(one_line(error)) from None


def one_line(error: Exception) -> str:
    """What botocore says, without its line ends, and without the password of an endpoint."""
    from smentry import masking

    text = " ".join(str(error).split()) or type(error).__name__
    return masking.mask(text, masking.values({**os.environ, "": text}))
