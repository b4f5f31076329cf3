"""OpenAI's Embeddings."""

import json
from collections.abc import Iterator
from typing import Any

USAGE: dict[str, Any] = {"prompt_tokens": 4, "total_tokens": 4}


def serves(path: str) -> bool:
    return path.endswith("/embeddings")


def model(path: str, asked: dict[str, Any]) -> str:
    return str(asked["model"])


def words(asked: dict[str, Any]) -> str:
    return asked["input"] if isinstance(asked["input"], str) else ""


def is_streamed(path: str, asked: dict[str, Any]) -> bool:
    return False


def plain(path: str, asked: dict[str, Any], usage: Any) -> bytes:
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [{"object": "embedding", "index": i, "embedding": [0.5, -0.25, i]} for i in range(len(inputs))]
    counted = {"usage": usage} if usage is not None else {}
    return json.dumps({"object": "list", "model": asked["model"], "data": data} | counted).encode()


def streamed(path: str, asked: dict[str, Any], usage: Any) -> Iterator[bytes]:
    raise NotImplementedError
