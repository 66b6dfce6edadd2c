"""Objects in S3, by boto3, with the developer's own credentials. It does not know what the objects are for.

Where S3 is, is what the SDKs agree on: AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3, AWS_PROFILE, AWS_REGION and the rest.
"""

from __future__ import annotations

import os

from smentry.ctl.data.storage import Object
from smentry.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, BinaryIO

_HINTS = {
    "403": "these credentials may not read it (s3:ListBucket, s3:GetObject)",
    "AccessDenied": "these credentials may not read it (s3:ListBucket, s3:GetObject)",
    "404": "there is no such object",
    "NoSuchKey": "there is no such object",
    "NoSuchBucket": "there is no such bucket",
    "ExpiredToken": "the credentials have expired",
    "InvalidAccessKeyId": "the credentials are wrong",
    "SignatureDoesNotMatch": "the credentials are wrong",
}


class Buckets:
    """S3. Every method raises RefusedError with what S3 says, and what would help."""

    def __init__(self) -> None:
        import warnings

        warnings.simplefilter("ignore")  # what boto3 thinks of the interpreter is no affair of the job's log
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 4})
        region = os.environ.get("AWS_REGION") or None  # boto3 itself reads AWS_DEFAULT_REGION only
        try:
            self._client: Any = boto3.session.Session(region_name=region).client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise RefusedError(f"S3: {_one_line(error)}") from None

    def objects(self, bucket: str, prefix: str) -> list[Object]:
        """The objects whose key begins with the prefix, without the marks of empty folders."""
        found = []
        with _Said(f"s3://{bucket}/{prefix}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                found += [_object(bucket, each["Key"], each["Size"]) for each in page.get("Contents", ())]
        return [each for each in found if each.size or not each.key.endswith("/")]

    def object(self, bucket: str, key: str) -> Object:
        """The object with this key."""
        with _Said(f"s3://{bucket}/{key}"):
            return _object(bucket, key, self._client.head_object(Bucket=bucket, Key=key)["ContentLength"])

    def open(self, bucket: str, key: str) -> BinaryIO:
        """The object's bytes, to be read and closed. Reading them raises what botocore and urllib3 raise.

        Not for `with`, which hands out another object: one to which a connection that breaks off is the end of the data.
        """
        with _Said(f"s3://{bucket}/{key}"):
            body: BinaryIO = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        return body

    def fetch(self, bucket: str, key: str, path: Path) -> None:
        """Write the object to `path`. Raises OSError too."""
        from boto3.s3.transfer import TransferConfig

        # boto3's own threads would be waited for at the interpreter's exit.
        config = TransferConfig(use_threads=False)
        with _Said(f"s3://{bucket}/{key}"):
            self._client.download_file(bucket, key, str(path), Config=config)


def _object(bucket: str, key: str, size: int) -> Object:
    return Object(f"s3://{bucket}/{key}", key, size)


class _Said:
    """Makes what botocore raises one line for the user."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            ParamValidationError,
        )

        if isinstance(error, ClientError):
            said = error.response.get("Error", {})
            code = said.get("Code", "")
            hint = f": {_HINTS[code]}" if code in _HINTS else ""
            raise RefusedError(f"{self._uri}: S3 says {said.get('Message') or code} ({code}){hint}") from None
        if isinstance(error, NoCredentialsError):
            raise RefusedError(
                f"{self._uri}: no AWS credentials found; set AWS_PROFILE or AWS_ACCESS_KEY_ID, "
                f"or let a directory stand for it: --s3 {self._uri}=DIR"
            ) from None
        if isinstance(error, (ParamValidationError, UnicodeEncodeError)):
            raise RefusedError(f"{self._uri}: no such name of a bucket or an object can be") from None
        if isinstance(error, (BotoCoreError, Boto3Error)):
            raise RefusedError(f"{self._uri}: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    from smentry import masking

    text = " ".join(str(error).split()) or type(error).__name__
    return masking.mask(text, masking.values({**os.environ, "": text}))
