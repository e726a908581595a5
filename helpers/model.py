"""`invoke_llm`: a question to a language model."""

from .outcome import Refused, never_raises, text_of
from .relay import relay

INPUT_CHARS_MAX = 200_000
"""Characters of one question (Composio contract)."""


@never_raises(str)
def invoke_llm(query: str, reasoning_effort: str | None = None) -> tuple[str, str]:
    """Ask a language model, for example to summarise, classify or extract.

    Example:
        answer, error = invoke_llm("Answer with one word, positive or negative: " + review)

    Returns:
        (answer, error): the model's text, and "" or what went wrong. When the answer is nothing but JSON, it comes
        without code fences, ready for json.loads.

    Args:
        query: the whole question, at most 200,000 characters.
        reasoning_effort: "low", "medium" or "high", for models that know it.
    """
    text_of(query, "query")
    if len(query) > INPUT_CHARS_MAX:
        raise Refused(
            f"query has {len(query)} characters, the limit is {INPUT_CHARS_MAX}: split it, one call for each part"
        )
    asked = {"query": query}
    if reasoning_effort is not None:
        asked["reasoning_effort"] = text_of(reasoning_effort, "reasoning_effort").lower()
    result, error = relay.call("invoke_llm", asked)
    return (result if isinstance(result, str) else ""), error
