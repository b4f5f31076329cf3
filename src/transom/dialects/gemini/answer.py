"""An upstream's answer read: a plain one, and what it has in common with the pieces of a streamed one."""

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count

import msgspec

from transom.dialects.bodies import read_name, read_response
from transom.dialects.gemini.calls import made_id
from transom.dialects.gemini.media import medium
from transom.dialects.gemini.signature import Proof, own_proof, standard, unwrap
from transom.dialects.gemini.usage import read_usage
from transom.dialects.middle import Answer, Choice, Logprob, Part, Reasoning, Stop, Text, ToolUse
from transom.dialects.translate import Facts, InvalidAnswer

_ABSENT = msgspec.Raw()
_FAILURES = (
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
    "TOO_MANY_TOOL_CALLS",
    "UNEXPECTED_TOOL_CALL",
)
"""Reasons that are no end of an answer but its failure: there is nothing to give to a caller."""
_STOPS: dict[str, Stop] = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length"}
"""Whatever else Gemini says (SAFETY, RECITATION, OTHER …) withholds the rest of the answer."""


class _Call(msgspec.Struct, rename="camel"):
    name: str
    id: str | None = None
    args: msgspec.Raw = _ABSENT
    partial_args: object = None


class _Blob(msgspec.Struct, rename="camel"):
    mime_type: str
    data: str


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Call | None = None
    inline_data: _Blob | None = None
    # What cannot be carried: files of Google's, and its own tools, which no translated request asks for.
    file_data: object = None
    executable_code: object = None
    code_execution_result: object = None
    tool_call: object = None
    tool_response: object = None


_FOREIGN = ("file_data", "executable_code", "code_execution_result", "tool_call", "tool_response")


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Token(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0  # protocol buffers' JSON leaves zero out


class _Rivals(msgspec.Struct):
    candidates: list[_Token] | None = None


class _Logprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] | None = None
    top_candidates: list[_Rivals] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    """One answer, or the next piece of one."""

    content: _Content | None = None
    finish_reason: str | None = None
    index: int | None = None
    logprobs_result: _Logprobs | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Error(msgspec.Struct):
    message: str = ""


class Body(msgspec.Struct, rename="camel"):
    """A `GenerateContentResponse`, whole or a piece; or an error in the middle of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = _ABSENT
    model_version: str | None = None
    response_id: str | None = None
    create_time: str | None = None
    error: _Error | None = None

    @property
    def blocked(self) -> bool:
        """Whether the prompt was withheld from the model: a filter's stop, and the whole answer."""
        return _is_blocked(self)

    def numbered(self) -> Iterator[tuple[int, Candidate]]:
        """Give the candidates with their numbers; where Gemini says none, their places."""
        for place, candidate in enumerate(self.candidates or ()):
            yield place if candidate.index is None else candidate.index, candidate


class _Reason(msgspec.Struct, rename="camel"):
    finish_reason: object = None


class _Withheld(msgspec.Struct, rename="camel"):
    block_reason: object = None


class _Shape(msgspec.Struct, rename="camel"):
    """Of a `GenerateContentResponse` what is recorded: what passes through may be as it likes besides."""

    candidates: list[_Reason] | None = None
    prompt_feedback: _Withheld | None = None
    usage_metadata: msgspec.Raw = _ABSENT
    model_version: object = None
    error: object = None


_bodies = msgspec.json.Decoder(Body)
_shapes = msgspec.json.Decoder(_Shape)


def _is_blocked(body: Body | _Shape) -> bool:
    return not body.candidates and body.prompt_feedback is not None and bool(body.prompt_feedback.block_reason)


class Head:
    """What every piece of an answer says alike: whose it is, and since when."""

    def __init__(self, body: Body, raw: bytes) -> None:
        """`raw`, the first piece, stands in for an id where there is none."""
        self.id = body.response_id or "gemini-" + hashlib.sha256(raw).hexdigest()[:24]
        self.model = body.model_version or ""
        self.created = _seconds(body.create_time)


def read_body(raw: bytes) -> Body:
    """Read an answer or a piece of one. Raises `InvalidAnswer`."""
    try:
        return _bodies.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidAnswer(f"not what Gemini's API answers: {error}") from error


def read_answer(raw: bytes) -> Answer:
    """Read a plain answer. Raises `InvalidAnswer`."""
    body = read_body(raw)
    head = Head(body, raw)
    if body.blocked:
        choices = [(0, Choice((), "filter"))]
    elif not body.candidates:
        raise InvalidAnswer("neither candidates nor the reason why there are none")
    else:
        choices = [(number, _choice(candidate, number, head.id)) for number, candidate in body.numbered()]
    return Answer(
        id=head.id,
        model=head.model,
        created=head.created,
        choices=tuple(choice for _, choice in sorted(choices, key=lambda each: each[0])),
        usage=read_usage(body.usage_metadata),
    )


def read_facts(raw: bytes) -> Facts:
    """Read a plain answer, or a piece of one, for the record."""
    body = read_response(_shapes, raw)
    if body is None:
        return Facts(complete=False)
    return Facts(
        complete=_is_blocked(body) or any(candidate.finish_reason for candidate in body.candidates or ()),
        model=read_name(body.model_version),
        usage=read_usage(body.usage_metadata),
        failed=body.error is not None,
    )


def read_parts(candidate: Candidate, place: tuple[object, ...], numbers: Iterator[int]) -> list[Part]:
    """Read what a candidate says. Uses of tools without ids get them from `place` and number."""
    parts: list[Part] = []
    for part in (candidate.content.parts if candidate.content else None) or ():
        parts.extend(_parts(part, place, numbers))
    return parts


def read_logprobs(wire: _Logprobs | None) -> tuple[Logprob, ...] | None:
    """Read `logprobsResult`; `None` where it is not said."""
    if wire is None or wire.chosen_candidates is None:
        return None
    rivals = wire.top_candidates or []
    return tuple(
        Logprob(
            chosen.token,
            chosen.log_probability,
            tuple(Logprob(each.token, each.log_probability) for each in (rivals[at].candidates or ()))
            if at < len(rivals)
            else (),
        )
        for at, chosen in enumerate(wire.chosen_candidates)
    )


def failed(reason: str | None) -> bool:
    """Return whether a `finishReason` tells of a failure: such an answer has no stop."""
    return reason in _FAILURES


def read_stop(reason: str, *, tools: bool) -> Stop:
    """Read a `finishReason` of an answer that uses `tools` or not."""
    stop = _STOPS.get(reason, "filter")
    return "tool_use" if stop == "stop" and tools else stop


def _choice(candidate: Candidate, number: int, id_: str) -> Choice:
    reason = candidate.finish_reason
    if failed(reason):
        raise InvalidAnswer(f"the model's answer failed: {reason}")
    parts = read_parts(candidate, (id_, number), count())
    stop = None if reason is None else read_stop(reason, tools=any(isinstance(part, ToolUse) for part in parts))
    return Choice(tuple(parts), stop, logprobs=read_logprobs(candidate.logprobs_result))


def _parts(part: _Part, place: tuple[object, ...], numbers: Iterator[int]) -> list[Part]:
    """Read one part; its signature, where it proves no thought of its own and no use of a tool, follows it."""
    if any(getattr(part, name) is not None for name in _FOREIGN):
        raise InvalidAnswer("it holds a part of Google's own tools or files, which cannot be carried")
    proof = unwrap(part.thought_signature)
    if part.function_call is not None:
        return [_use(part.function_call, proof, place, numbers)]
    thinking = Reasoning(part.text if part.text and part.thought else "", proof.signature, proof.hidden)
    said: list[Part] = [Text(part.text)] if part.text and not part.thought else []
    if part.inline_data is not None:
        try:
            said.append(medium(part.inline_data.mime_type, standard(part.inline_data.data)))
        except ValueError as error:
            raise InvalidAnswer("its inline text is not text in UTF-8") from error
    return said if thinking == Reasoning() else [*said, thinking]


def _use(call: _Call, proof: Proof, place: tuple[object, ...], numbers: Iterator[int]) -> ToolUse:
    if call.partial_args is not None:
        raise InvalidAnswer("it holds arguments in pieces, which nobody asked for")
    number = next(numbers)
    try:
        arguments = bytes(call.args).decode()
    except UnicodeDecodeError as error:
        raise InvalidAnswer("its arguments are not text in UTF-8") from error
    if arguments in {"", "null"}:
        arguments = "{}"
    return ToolUse(call.id or made_id(*place, number), call.name, arguments, own_proof(proof.signature))


def _seconds(time_: str | None) -> int:
    try:
        return int(datetime.fromisoformat(time_).timestamp()) if time_ else int(time.time())
    except ValueError:
        return int(time.time())
