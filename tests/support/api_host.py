"""An API as `proxy_execute` reaches one: it wants a credential and repeats what came."""

from typing import Final

from tests.support.faulty_server import FaultyServer, Reply, Seen, json_reply

CREDENTIAL: Final = "Bearer an-api-token-nobody-may-see"


class ApiHost(FaultyServer):
    """Under `/v1`: answers with the request; `replies` has ready answers by path."""

    def __init__(self, credential: str | None = CREDENTIAL, header: str = "authorization") -> None:
        super().__init__()
        self.credential = credential
        self.header = header
        self.replies: dict[str, Reply] = {}

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    async def answer(self, request: Seen) -> Reply:
        if self.credential is not None and request.headers.get(self.header) != self.credential:
            return json_reply({"message": "Bad credentials"}, 401)
        if request.path in self.replies:
            return self.replies[request.path]
        return json_reply(
            {
                "method": request.method,
                "path": request.path,
                "target": request.target,
                "query": request.query,
                "headers": request.headers,
                "body": request.body.decode(),
            }
        )
