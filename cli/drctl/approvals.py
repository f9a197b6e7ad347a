"""`drctl approvals`: what goes with approvals apart from deciding."""

from typing import TYPE_CHECKING

import boto3
import typer

from dr_core.links import rotated
from drctl.cloud import cloud_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

app = typer.Typer(name="approvals", no_args_is_help=True, help="What goes with approvals apart from deciding.")


@app.command("rotate-key")
def rotate_key(context: typer.Context) -> None:
    """Sign links to the approval page with a new key from now on.

    Links that are out stay good until the next rotation: two in a row make all of them void.
    """
    cloud = cloud_of(context)
    client: SecretsManagerClient = boto3.client("secretsmanager")
    secret = cloud.output("SigningSecretArn")
    following = rotated(client.get_secret_value(SecretId=secret)["SecretString"])
    client.put_secret_value(SecretId=secret, SecretString=following)
    typer.echo("Links are signed with a new key within a minute; those that are out stay good until the next rotation.")
