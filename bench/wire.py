"""What goes over the wire: the prebuilt requests, the stand-in's answers, and timestamps that look like words.

No I/O. Every prompt and every answer is plain words, so that a safeguard scans them as it would scan real ones
and finds nothing.
"""

import random
import re
import time

import msgspec

MARKER = b"the stand-in upstream answers"
"""Every plain answer holds this text; a response without it is counted as an error."""

_DIGITS = b"0123456789"
_LETTERS = b"abcdefghij"
_TO_LETTERS = bytes.maketrans(_DIGITS, _LETTERS)
_TO_DIGITS = bytes.maketrans(_LETTERS, _DIGITS)

STAMP = re.compile(rb" ([a-j]{13})\b")
"""One timestamp, preceded by a space, as the stand-in writes it into the text of an answer."""

_WORDS = (
    *("the", "of", "and", "to", "in", "is", "that", "for", "it", "with", "as", "was", "on", "be", "at", "by", "this"),
    *("have", "from", "or", "had", "not", "are", "but", "what", "all", "were", "when", "we", "there", "can", "an"),
    *("your", "which", "their", "said", "if", "do", "will", "each", "about", "how", "up", "out", "them", "then"),
)


class Target(msgspec.Struct, frozen=True):
    """Where a load goes: an address on this machine, the path, the model's name and the headers a subject wants."""

    host: str
    port: int
    path: str
    model: str
    headers: tuple[tuple[str, str], ...] = ()


def now() -> int:
    """Microseconds of the machine's monotonic clock: the same in every process."""
    return time.monotonic_ns() // 1000


def stamp(microseconds: int) -> bytes:
    """A time as thirteen lower-case letters: no safeguard takes it for a number, a card or a key."""
    return (b"%013d" % microseconds).translate(_TO_LETTERS)


def read_stamp(letters: bytes) -> int:
    """The time that `stamp` wrote, in microseconds."""
    return int(letters.translate(_TO_DIGITS))


def chat_body(model: str, *, stream: bool, seed: int, words: int = 100) -> bytes:
    """A chat of two messages and about `words` words, the same for the same seed."""
    draw = random.Random(seed)
    prompt = " ".join(draw.choices(_WORDS, k=words))
    body: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You answer in one short sentence."},
            {"role": "user", "content": prompt},
        ],
        "max_tokens": 64,
        "temperature": 0.2,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(body)


def request(target: Target, *, stream: bool, seed: int) -> bytes:
    """One whole HTTP/1.1 request, ready to be written again and again on a kept connection."""
    body = chat_body(target.model, stream=stream, seed=seed)
    headers = [
        ("Host", f"{target.host}:{target.port}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        *target.headers,
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode() + body


def plain_answer(text: bytes) -> bytes:
    """A chat completion with usage, in OpenAI's shape; `text` needs no JSON escapes."""
    return (
        b'{"id":"chatcmpl-standin","object":"chat.completion","created":1764000000,"model":"bench-model","choices":['
        b'{"index":0,"message":{"role":"assistant","content":"' + text + b'"},"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":128,"completion_tokens":32,"total_tokens":160},"system_fingerprint":"fp_standin"}'
    )


FIXED_ANSWER = plain_answer(MARKER + b" every question with the same short sentence, at once and without a thought.")

_CHUNK_HEAD = (
    b'data: {"id":"chatcmpl-standin","object":"chat.completion.chunk","created":1764000000,"model":"bench-model",'
    b'"system_fingerprint":"fp_standin","choices":['
)
STREAM_FIRST = (
    _CHUNK_HEAD + b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'
)
STREAM_LAST = (
    _CHUNK_HEAD
    + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    + _CHUNK_HEAD
    + b'],"usage":{"prompt_tokens":128,"completion_tokens":200,"total_tokens":328}}\n\n'
    + b"data: [DONE]\n\n"
)


def stream_chunk(microseconds: int) -> bytes:
    """One server-sent event whose text is a timestamp."""
    return (
        _CHUNK_HEAD
        + b'{"index":0,"delta":{"content":" '
        + stamp(microseconds)
        + b'"},"logprobs":null,"finish_reason":null}]}\n\n'
    )
