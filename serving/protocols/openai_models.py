"""OpenAI's cards of models, one for each bot."""

import time
from typing import TYPE_CHECKING, Any

from serving.service import Service, require_access

if TYPE_CHECKING:
    from serving.auth.middleware import Caller


class ModelCards:
    """The bots of a server as OpenAI's API lists them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = int(time.time())

    def list(self, caller: "Caller | None") -> dict[str, Any]:
        """Return the list of the bots that the caller can query."""
        return {"object": "list", "data": [self._card(name) for name in self._service.names(caller)]}

    async def get(self, address: str, caller: "Caller | None") -> dict[str, Any]:
        """Return the card of what answers at an address. Raises ApiError (403) and ModelNotFound."""
        require_access(address, caller)
        await self._service.locate(address, caller)
        return self._card(address)

    def _card(self, address: str) -> dict[str, Any]:
        return {"id": address, "object": "model", "created": self._created, "owned_by": "mynah"}
