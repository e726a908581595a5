"""JSON in and out by msgspec, and the JSON schemas of both for the API's documentation."""

from typing import Any, Final

import msgspec
from fastapi import Request
from starlette.responses import Response

from sandbox.errors import FieldError, InvalidArguments, InvalidRequest
from sandbox.upstreams.json_values import VALUES_MAX, has_too_many

JSON: Final = "application/json"

_encoder: Final = msgspec.json.Encoder()


def encode(thing: object) -> bytes:
    """Encode anything that msgspec knows."""
    return _encoder.encode(thing)


def json_response(thing: object, status_code: int = 200) -> Response:
    """Answer with `thing` as JSON."""
    return Response(encode(thing), status_code=status_code, media_type=JSON)


async def read_object(request: Request) -> dict[str, Any]:
    """Read the body, which has to be one JSON object.

    Raises:
        InvalidRequest: it is not JSON, or not an object, or has too many values.
        PayloadTooLarge: it is over the configured size.
    """
    raw = await request.body()
    if has_too_many(raw):
        raise InvalidRequest(f"The body has more than {VALUES_MAX:,} values", suggested_fix="Send less at once.")
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        words = "The body is empty" if not raw.strip() else f"The body is not valid JSON: {error}"
        raise InvalidRequest(words, suggested_fix="Send one JSON object.") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"The body has to be a JSON object, not {_json_name(body)}")
    return body


async def read_object_or_none(request: Request) -> dict[str, Any] | None:
    """Read the body as `read_object` does; None when there is none. Raises as that."""
    return await read_object(request) if (await request.body()).strip() else None


def required_text(body: dict[str, Any], name: str) -> str:
    """A field of the body that is a string with something in it.

    Raises:
        InvalidArguments: it is something else, or not there.
    """
    value = optional_text(body, name)
    if value is not None and value.strip():
        return value
    reason = "Required" if value is None else "Must not be empty"
    raise InvalidArguments(f'Validation error: {reason} at "{name}"', errors=(FieldError(name, reason),))


def flag(body: dict[str, Any], name: str) -> bool:
    """A field of the body that is true, false, null or not there, which is false. Raises `InvalidArguments`."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    reason = f"Expected boolean, got {_json_name(value)}"
    raise InvalidArguments(f'Validation error: {reason} at "{name}"', errors=(FieldError(name, reason),))


def optional_text(body: dict[str, Any], name: str) -> str | None:
    """A field of the body that is a string, or null, or not there.

    Raises:
        InvalidArguments: it is something else.
    """
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    reason = f"Expected string, got {_json_name(value)}"
    raise InvalidArguments(f'Validation error: {reason} at "{name}"', errors=(FieldError(name, reason),))


def schema_of(*types: Any) -> dict[str, Any]:
    """JSON schemas of msgspec structs, by name, as the components of an OpenAPI document."""
    _, parts = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return parts


def _json_name(value: object) -> str:
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "null")
