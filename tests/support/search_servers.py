"""Exa's `/answer`, and a SearXNG instance."""

from typing import Any, Final

from tests.support.faulty_server import FaultyServer, Reply, Seen, json_reply

EXA_KEY: Final = "exa-a-search-key-nobody-may-see"


class ExaServer(FaultyServer):
    """Answers each question with two sources. `answered`: the questions that were paid for."""

    def __init__(self, key: str = EXA_KEY) -> None:
        super().__init__()
        self.key = key
        self.answered: list[str] = []

    async def answer(self, request: Seen) -> Reply:
        if request.path != "/answer" or request.method != "POST":
            return json_reply({"error": "Not found"}, 404)
        if request.headers.get("x-api-key") != self.key:
            return json_reply({"requestId": "r", "error": "Invalid API key", "tag": "INVALID_API_KEY"}, 401)
        query = request.json.get("query")
        if not query:
            return json_reply({"requestId": "r", "error": "query is required", "tag": "INVALID_REQUEST_BODY"}, 400)
        self.answered.append(query)
        citations = [
            {"id": "1", "url": "https://one.example/", "title": "One"},
            {"id": "2", "url": "https://two.example/", "title": None},
        ]
        return json_reply({"requestId": "r", "answer": f"About {query}.", "citations": citations})


class SearxngServer(FaultyServer):
    """Finds `results` for every question. `json_allowed` False: as a fresh instance, which has only HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.json_allowed = True
        self.answered: list[str] = []
        self.body: dict[str, Any] = {
            "results": [
                {"url": f"https://result.example/{n}", "title": f"Result {n}", "content": f"Text\n of {n}"}
                for n in range(1, 15)
            ],
            "answers": [],
            "unresponsive_engines": [],
        }

    async def answer(self, request: Seen) -> Reply:
        query = dict(request.query)
        if request.path != "/search":
            return Reply(404, b"<html>Page not found</html>", {"content-type": "text/html"})
        if query.get("format") == "json" and not self.json_allowed:
            return Reply(403, b"<html><title>403 Forbidden</title></html>", {"content-type": "text/html"})
        if not query.get("q"):
            return json_reply({"error": "No query"}, 400)
        self.answered.append(query["q"])
        return json_reply({"query": query["q"], **self.body})
