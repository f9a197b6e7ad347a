"""A session of botocore that outlives a test: to make a client takes longer than the calls."""

from typing import Any

from botocore.config import Config
from botocore.session import Session


class OneOfEach(Session):
    """With credentials, for a Region. Makes each client once."""

    def __init__(self, region: str) -> None:
        super().__init__()
        self.set_credentials("AKIATEST", "secret", "token")
        self.set_config_variable("region", region)
        self._clients: dict[tuple[str, str, str], Any] = {}

    def create_client(self, service_name: str, region_name: str | None = None, config: Config | None = None, **more: Any) -> Any:  # type: ignore[override]
        key = (service_name, str((region_name, more)), str(vars(config)) if config else "")
        if key not in self._clients:
            self._clients[key] = super().create_client(service_name, region_name, config=config, **more)
        return self._clients[key]
