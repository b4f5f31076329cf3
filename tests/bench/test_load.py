"""The load generator against the paced stand-in, in one process each: what is good is counted, what is not, too."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.load import run_load
from bench.processes import Process, free_port, start
from bench.streams import run_streams
from bench.wire import Target

CHUNKS = 5


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    port = free_port()
    command = [sys.executable, "-m", "bench.standin", "--paced-only", "--paced-port", str(port)]
    command += ["--chunks", str(CHUNKS), "--interval-ms", "5"]
    log = tmp_path_factory.mktemp("standin") / "log"
    root = Path(__file__).resolve().parents[2]
    process = start(command, port=port, log=log, core=None, folder=root)
    yield process
    process.stop()


def target(port: int, path: str = "/v1/chat/completions") -> Target:
    return Target(host="127.0.0.1", port=port, path=path, model="bench-model")


def test_plain_answers_are_counted_and_the_stand_ins_own_time_is_taken_away(standin: Process) -> None:
    result = run_load(
        target(standin.port, "/wait/20/v1/chat/completions"), connections=4, seconds=0.3, warm_up=0, stamped=True
    )
    assert result.errors == {}
    assert 4 <= result.requests <= 4 * 0.3 / 0.02
    assert result.p50_us >= 20_000
    assert result.added_p50_us is not None
    assert result.added_p50_us < result.p50_us - 19_000


def test_every_chunk_of_every_stream_is_seen(standin: Process) -> None:
    result = run_streams(target(standin.port), streams=8, seconds=0.1, chunks_expected=CHUNKS)
    assert result.errors == {}
    assert result.streams_done >= 8
    assert result.chunks == CHUNKS * result.streams_done
    assert 0 <= result.p50_us < 5_000_000


def test_a_stream_with_too_few_chunks_is_an_error(standin: Process) -> None:
    result = run_streams(target(standin.port), streams=1, seconds=0, chunks_expected=CHUNKS + 1)
    assert result.errors == {"chunks missing or too many": 1}


def test_nobody_there_is_an_error_and_the_load_gives_up() -> None:
    result = run_load(target(free_port()), connections=2, seconds=0.2, warm_up=0)
    assert result.requests == 0
    assert set(result.errors) == {"cannot connect"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "no marker in the body"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "a message without a length"),
    ],
)
def test_a_wrong_answer_is_an_error(answer: bytes, kind: str, tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER.format(answer=answer))
    port = free_port()
    process = start([sys.executable, str(script), str(port)], port=port, log=tmp_path / "log", core=None)
    try:
        result = run_load(target(port), connections=1, seconds=0.2, warm_up=0)
    finally:
        process.stop()
    assert result.requests == 0
    assert result.errors[kind] >= 1


SERVER = """
import asyncio, sys

async def serve(reader, writer):
    try:
        while await reader.read(65536):
            writer.write({answer})
            await writer.drain()
    except ConnectionError:
        pass

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""


def test_a_process_is_measured_paused_and_ended(standin: Process) -> None:
    memory = standin.memory()
    assert memory.processes == len(standin.tree())
    assert 0 < memory.pss <= memory.rss
    standin.pause()
    before = standin.cpu_seconds()
    result = run_load(target(standin.port), connections=1, seconds=0.1, warm_up=0, patience=0.1)
    assert result.errors == {"no answer in time": 1}
    assert standin.cpu_seconds() == before
    standin.resume()
    assert run_load(target(standin.port), connections=1, seconds=0.1, warm_up=0).requests > 0
