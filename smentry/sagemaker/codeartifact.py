"""The package index of an AWS CodeArtifact repository. It knows AWS, and not what is installed from there."""

from __future__ import annotations

from smentry.sagemaker.download import DownloadError, connect, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_EXPECTED = "expected arn:aws:codeartifact:REGION:ACCOUNT:repository/DOMAIN/REPOSITORY"


def index(arn: str, environment: Mapping[str, str]) -> str:
    """The URL of the repository's index for pip, with a token in it that is good for hours. Raises DownloadError."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "codeartifact":
        raise DownloadError(_EXPECTED)
    region, owner, names = parts[3], parts[4], parts[5].split("/", 2)
    if len(names) != 3 or names[0] != "repository" or not (region and owner and names[1] and names[2]):
        raise DownloadError(_EXPECTED)
    endpoint = environment.get("AWS_ENDPOINT_URL_CODEARTIFACT") or environment.get("AWS_ENDPOINT_URL")
    client = connect("codeartifact", environment, endpoint, region)
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        token = client.get_authorization_token(domain=names[1], domainOwner=owner)["authorizationToken"]
        where = client.get_repository_endpoint(domain=names[1], domainOwner=owner, repository=names[2], format="pypi")[
            "repositoryEndpoint"
        ]
    except (BotoCoreError, ClientError) as error:
        raise DownloadError(one_line(error)) from None
    scheme, _, rest = str(where).partition("://")
    return f"{scheme}://aws:{token}@{rest.rstrip('/')}/simple/"
