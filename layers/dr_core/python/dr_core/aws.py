"""Clients of AWS's services, made by botocore alone: boto3 is the same clients, and much that no function uses loaded ahead of them."""

from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.loaders import Loader, create_loader
from botocore.session import Session, get_session

if TYPE_CHECKING:
    from boto3 import client  # its stubs know which client each service has
else:

    def client(service: str, region_name: str | None = None, config: Config | None = None) -> Any:
        """A client with the function's own credentials, by default of its own Region. One thread at a time may make one."""
        return own_session().create_client(service, region_name=region_name, config=config)


__all__ = ["client", "new_session", "own_session"]


def new_session() -> Session:
    """A session of its own. All of them share what they read of AWS's models, so that each is parsed once."""
    session = get_session()
    session.register_component("data_loader", _models())
    return session


@cache
def own_session() -> Session:
    """The session with the function's own credentials."""
    return new_session()


@cache
def _models() -> Loader:
    return create_loader()
