"""The shape of a JSON value in words: its keys and the types of what they hold."""

DEPTH_MAX = 6
KEYS_MAX = 40


def shape(value: object, depth: int = 0) -> str:
    """Describe a value, bounded in depth and in keys: `{"messages": [{"id": str}, 20 in all]}`."""
    if isinstance(value, dict):
        if depth == DEPTH_MAX:
            return "{...}"
        items = [f'"{key}": {shape(item, depth + 1)}' for key, item in list(value.items())[:KEYS_MAX]]
        if len(value) > KEYS_MAX:
            items.append(f"{len(value) - KEYS_MAX} more keys")
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        if not value:
            return "[]"
        return f"[{shape(value[0], depth + 1) if depth < DEPTH_MAX else '...'}, {len(value)} in all]"
    return "null" if value is None else type(value).__name__
