"""What upstreams do wrong, as scripts by name: `Upstream(faulty.SCRIPTS)`, and `url_of` for the one that is wanted."""

from itertools import repeat

from tests.support.formats.openai_chat import delta
from tests.support.upstream import Script
from tests.support.wire import event

PART = delta({"model": "real"}, {"content": "Yes "})
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def _refuses(status: int, **headers: str) -> Script:
    body = b'{"error":{"message":"internal vendor text, account acct_123","type":"x","code":"y"}}'
    return Script(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


SCRIPTS: dict[str, Script] = {
    "good": Script(),
    "varied": Script(paces=(0.0, 0.0, 0.002, 0.01, 0.03)),
    # What is no HTTP, or no answer of this API.
    "garbage": Script(raw=b"SSH-2.0-OpenSSH_9.9\r\n", end="silence"),
    "html": Script(headers={"content-type": "text/html"}, body=b"<html><body>Welcome to nginx!</body></html>"),
    # What ends too early. Of a stream, one event with text in it goes out; of a plain answer, two bytes.
    "resets": Script(raw=b"", end="reset"),
    "resets-midway": Script(first=2, end="reset"),
    "truncates": Script(first=2, end="close"),
    "no-end": Script(events=[PART]),  # framed as whole, but without a finish reason
    "error-event": Script(events=[PART, event({"error": {"message": "out of memory"}})]),
    # What is not what its head promises, or not text.
    "half-character": Script(events=[PART, b'data: {"choices":[{"delta":{"content":"caf\xc3'], end="close"),
    "bad-json": Script(body=b'{"choices": [{"message": '),
    "too-short": Script(raw=_HEAD + b"content-length: 500\r\n\r\n{}", end="close"),
    "too-long": Script(raw=_HEAD + b'content-length: 2\r\n\r\n{}{"and":"more"}', end="close"),
    "two-lengths": Script(raw=_HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ", end="close"),
    "wait": _refuses(429, retry_after="0"),
    # What never ends.
    "silent": Script(raw=b"", end="silence"),
    "stalls": Script(first=2, end="silence"),
    "drips": Script(events=repeat(PART), gap=0.05),
    "floods": Script(events=repeat(PART * 400)),
    "s400": _refuses(400),
    "s401": _refuses(401),
    "s403": _refuses(403),
    "s404": _refuses(404),
    "s429": _refuses(429, retry_after="7"),
    "s500": _refuses(500),
    "s502": _refuses(502),
    "s503": _refuses(503),
}
