"""Draw one response of the ledger again, alone: its prompt, sampling parameters and seed are all there."""

import json
from itertools import takewhile

from tasks.engines.params import SamplingParams
from tasks.engines.protocol import Engine, Request, make_request
from tasks.errors import LimoError
from tasks.records.response import Response

POLL_SECONDS = 1.0


def request_of(response: Response) -> Request:
    """The request that a response answers.

    Raises:
        LimoError: the ledger's row does not make its own id.
    """
    sampling = SamplingParams(**json.loads(response.sampling), seed=response.seed)
    request = make_request(response.model_id, response.prompt, sampling, response.sample_index)
    if request.response_id != response.response_id:
        raise LimoError(f"{response.response_id}: its prompt and parameters make another id, {request.response_id}")
    return request


def redraw(response: Response, engine: Engine) -> Response:
    """The response that `engine` gives to the same request now, with nothing else in its batch."""
    engine.submit([request_of(response)])
    found: list[Response] = []
    while not found:
        found = engine.finished(POLL_SECONDS)
    return found[0]


def difference(before: Response, after: Response) -> str:
    """Where two responses to the same request part; empty when they are the same."""
    if before.text == after.text:
        return (
            ""
            if before.finish_reason == after.finish_reason
            else f"{before.finish_reason} then, {after.finish_reason} now"
        )
    pairs = zip(before.text, after.text, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    then, now = before.text[same : same + 40], after.text[same : same + 40]
    return f"the same for {same:,} of {len(before.text):,} characters, then {then!r} became {now!r}"
