"""What a server's replies hold, checked as they are read."""

import math
from typing import TypeVar

import httpx
import msgspec

from tasks.records.response import LOOP

REASONS = {"stop": "stop", "length": "length", "repetition": LOOP}
"""The server's finish reasons in the ledger's words; any other means that the response is not whole."""
CONTEXT_WORDS = ("context length", "maximum model length", "max_model_len", "longer than the maximum")


class MalformedError(Exception):
    """A reply that is not what was asked for; asking again may help."""


class _Logprobs(msgspec.Struct):
    token_logprobs: list[float | None] | None = None


class _Choice(msgspec.Struct):
    text: str
    finish_reason: str
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


class Card(msgspec.Struct):
    """One entry of a server's list of models."""

    id: str
    max_model_len: int | None = None
    """Tokens of its context; only vLLM says it."""


class _Cards(msgspec.Struct):
    data: list[Card]


class Room(msgspec.Struct):
    """Tokens of a prompt, and of the server's context."""

    count: int
    max_model_len: int


class Answer(msgspec.Struct):
    """A whole response."""

    text: str
    reason: str
    n_prompt_tokens: int
    n_tokens: int
    logprob_sum: float | None


def read_answer(reply: httpx.Response) -> Answer:
    """The response in a reply to a request for a completion.

    Raises:
        MalformedError: it is not JSON, lacks a part, or the server broke the response off.
    """
    completion = _decoded(reply, _Completion)
    if not completion.choices:
        raise MalformedError("a reply without a response")
    choice = completion.choices[0]
    if choice.finish_reason not in REASONS:
        raise MalformedError(f"the server ended a response with {choice.finish_reason}")
    usage = completion.usage
    return Answer(
        choice.text, REASONS[choice.finish_reason], usage.prompt_tokens, usage.completion_tokens, _logprob_sum(choice)
    )


def read_cards(reply: httpx.Response) -> dict[str, Card]:
    """The models of a server, by name.

    Raises:
        MalformedError: it is not a list of models.
    """
    return {card.id: card for card in _decoded(reply, _Cards).data}


def read_room(reply: httpx.Response) -> Room:
    """What /tokenize says of a prompt.

    Raises:
        MalformedError: it says something else.
    """
    return _decoded(reply, Room)


def is_too_long(reply: httpx.Response) -> bool:
    """Whether a server refused because prompt and max_tokens exceed its context."""
    return reply.status_code == 400 and any(words in reply.text for words in CONTEXT_WORDS)


def refusal(reply: httpx.Response) -> str:
    """A reply that is no success, in one line."""
    return f"HTTP {reply.status_code}: {' '.join(reply.text.split())[:200]}"


def _logprob_sum(choice: _Choice) -> float | None:
    given = choice.logprobs.token_logprobs if choice.logprobs else None
    if given is None:
        return None
    known = [value for value in given if value is not None]
    return math.fsum(known) if len(known) == len(given) else None


S = TypeVar("S", bound=msgspec.Struct)


def _decoded(reply: httpx.Response, form: type[S]) -> S:
    try:
        return msgspec.json.decode(reply.content, type=form)
    except msgspec.MsgspecError as error:
        raise MalformedError(f"a malformed reply ({error})") from None
