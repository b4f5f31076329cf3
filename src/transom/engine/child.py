"""The process that holds the model: `python -P -m transom.engine.child`, started by `transom.engine.supervisor` only.

It reads one JSON line (`Order`) from standard input, loads the weights, serves on 127.0.0.1, and writes one JSON line
(`Ready`) to standard output. The key never stands in its arguments or its environment, which other users may read.

It dies with its parent, however that dies: the kernel kills it (Linux, prctl(2) PR_SET_PDEATHSIG), and everywhere it
leaves when standard input ends. It ignores Ctrl-C, which a terminal sends to a whole process group: the parent finishes
the requests under way first and then stops it.
"""

import ctypes
import importlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from transom.engine.settings import LIBRARY

HOST = "127.0.0.1"
EXIT_HOPELESS = 78
"""`EX_CONFIG` of sysexits.h: another try would end the same way."""
_PR_SET_PDEATHSIG = 1
_QUIET = 2
"""llama.cpp's log level for warnings and errors; from 3 on it writes lines for every request."""
_STANDARD_INPUT, _STANDARD_OUTPUT, _STANDARD_ERROR = 0, 1, 2


class Order(msgspec.Struct, frozen=True):
    """What the parent asks for. `port` is a wish (0: any); `context` is in tokens for each parallel request."""

    parent: int
    weights: str
    model: str
    api_key: str
    port: int
    threads: int
    parallel: int
    context: int
    embeddings: bool


class Ready(msgspec.Struct, frozen=True):
    """The model is loaded and answers on this port of 127.0.0.1."""

    port: int


def main() -> int:
    """Serve until the parent says so or is gone. Returns an exit status only where serving never began."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    answers = _keep_standard_output_for_answers()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0  # the parent went away before it said anything
    order = msgspec.json.decode(line, type=Order)
    if os.getppid() != order.parent:
        return 0  # the parent died before the kernel was told to watch it
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if not Path(order.weights).is_file():
        sys.stderr.write(f"The weights {order.weights} are not there.\n")
        return EXIT_HOPELESS
    try:
        server = serve(order)
    except ImportError as error:
        sys.stderr.write(f"The package {LIBRARY} cannot be loaded here: {error}\n")
        return EXIT_HOPELESS
    port = int(server.listening_address.rsplit(":", 1)[1])
    os.write(answers, msgspec.json.encode(Ready(port)) + b"\n")
    threading.Event().wait()  # the server has threads of its own; SIGTERM ends the process at once
    return 0


def serve(order: Order) -> Any:  # noqa: ANN401 - an optional package, without types
    """Load the weights, begin to answer, and return the server, which stops when it is let go of.

    Raises `ImportError` where the library is missing or not made for this machine, `RuntimeError` where it refuses.
    """
    library = importlib.import_module(LIBRARY)  # 100 MB, and optional: only this process needs it
    wish = library.CommonParams()
    wish.model.path = order.weights
    wish.model_alias = {order.model}
    wish.hostnames = [HOST]
    wish.port = order.port if _is_free(order.port) else 0
    wish.api_keys = [order.api_key]
    wish.cpuparams.n_threads = order.threads
    wish.cpuparams_batch.n_threads = order.threads
    wish.n_parallel = order.parallel
    wish.n_ctx = order.context * order.parallel  # the library divides it among the parallel requests
    wish.cache_ram_mib = 0  # its default keeps up to 8 GiB of other prompts' state
    wish.cache_idle_slots = False  # needs that store
    wish.offline = True
    wish.ui = False
    wish.endpoint_slots = False  # it would show one caller's prompt to another
    wish.verbosity = _QUIET
    if order.embeddings:
        wish.embedding = True
        wish.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return library.Server(wish)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends (Linux; a no-op elsewhere)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _keep_standard_output_for_answers() -> int:
    """Return a private copy of standard output; whatever a library prints goes to standard error from here on."""
    answers = os.dup(_STANDARD_OUTPUT)
    os.dup2(_STANDARD_ERROR, _STANDARD_OUTPUT)
    return answers


def _leave_with_parent() -> None:
    while os.read(_STANDARD_INPUT, 1024):
        pass
    os._exit(0)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
