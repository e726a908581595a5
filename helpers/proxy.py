"""`proxy_execute`: a request to an app's own API, with the credential added outside the sandbox."""

from typing import Any

from .outcome import Refused, never_raises, text_of
from .relay import relay

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
Pairs = list[list[str]]


@never_raises(dict)
def proxy_execute(  # noqa: PLR0917 - the signature is the contract
    method: str,
    endpoint: str,
    toolkit: str,
    query_params: dict[str, Any] | None = None,
    body: Any = None,
    headers: dict[str, str] | None = None,
    *,
    params: list[dict[str, Any]] | None = None,
) -> tuple[Any, str]:
    """Send a request to the API of a connected app, for what no tool does.

    Example:
        repos, error = proxy_execute("GET", "/user/repos", "github", query_params={"per_page": 50})

    Returns:
        (answer, error). `answer` is the body of the API's answer: parsed JSON, or text. When the API answers with
        status 400 or higher, `error` is "API returned status N: ..." and `answer` is {"status", "data", "headers"}.

    Args:
        method: GET, POST, PUT, DELETE or PATCH.
        endpoint: a path such as "/user/repos", or a URL on the app's own host.
        toolkit: the app, such as "github".
        query_params: a dict; a list in it gives its name several times.
        body: what to send, as JSON. POST needs one ({} for an empty one), GET takes none.
        headers: a dict. The Authorization header is added outside the sandbox and cannot be set here.
        params: the older form, [{"name": ..., "value": ..., "type": "query" or "header"}, ...]; also as 4th argument.
            With it the answer is {"data", "status", "headers"}: the body lies in answer["data"].
    """
    if isinstance(query_params, list):
        params, query_params = query_params, None
    asked: dict[str, Any] = {
        "method": _method(method, body),
        "endpoint": text_of(endpoint, "endpoint"),
        "toolkit": text_of(toolkit, "toolkit").lower(),
    }
    query, fields = _pairs(query_params, "query_params"), _pairs(headers, "headers")
    for name, value, place in _older_form(params):
        (query if place == "query" else fields).append([name, value])
    if body is not None:
        asked["body"] = body
    asked |= {key: pairs for key, pairs in (("query", query), ("headers", fields)) if pairs}
    result, error = relay.call("proxy_execute", asked)
    if error or not isinstance(result, dict):
        return ({} if result is None else result), error or "the answer is not what a proxy gives"
    return (result if params is not None else result.get("data")), ""


def _method(method: object, body: object) -> str:
    """Give the method in capitals.

    Raises:
        Refused: there is no such method, or it does not go with the body.
    """
    name = text_of(method, "method").upper()
    if name not in METHODS:
        raise Refused(f"method {name} is none of {', '.join(METHODS)}")
    if name == "POST" and body is None:
        raise Refused("a POST request needs a body: give body={} for an empty one")
    if name == "GET" and body is not None:
        raise Refused("a GET request takes no body: use query_params")
    return name


def _pairs(values: object, name: str) -> Pairs:
    """Give names with values as text; a name whose value is a list comes several times, None leaves it out."""
    if values is None:
        return []
    if not isinstance(values, dict):
        raise Refused(f"{name} must be a dict, not {type(values).__name__}")
    pairs: Pairs = []
    for key, value in values.items():
        several = value if isinstance(value, (list, tuple)) else [value]
        pairs += [[str(key), _text(item, f"{name}[{key!r}]")] for item in several if item is not None]
    return pairs


def _older_form(params: object) -> list[tuple[str, str, str]]:
    """Read `[{name, value, type}]`."""
    if params is None:
        return []
    if not isinstance(params, list):
        raise Refused(f"params must be a list, not {type(params).__name__}")
    found = []
    for index, item in enumerate(params):
        if not isinstance(item, dict) or "name" not in item or "value" not in item:
            raise Refused(f"params[{index}] must be a dict with name, value and type")
        place = str(item.get("type", "query")).lower()
        if place not in ("query", "header"):
            raise Refused(f'params[{index}]["type"] is {place!r}; it must be "query" or "header"')
        found.append((str(item["name"]), _text(item["value"], f'params[{index}]["value"]'), place))
    return found


def _text(value: object, where: str) -> str:
    """Write a plain value as it stands in a URL or a header."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise Refused(f"{where} must be text or a number, not {type(value).__name__}")
