"""A running door: `transom up` in a process of its own on a home of the test's, on a free port.

Whatever a test does, `stop` at its end leaves no process behind; `log` and `output` hold what the process said.
"""

import contextlib
import functools
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import text
from tests.support.processes import alive, children, resident

from transom.app.build import Stores, open_stores
from transom.app.home import Home, find_home, prepare
from transom.callers.issue import ANY, Issued, Terms
from transom.decisions import explain as stories
from transom.decisions.explain import Story
from transom.decisions.governance import TERMINAL, issue_key, revoke_key
from transom.errors import NotFound
from transom.ledger.entry import Entry, OutcomeEntry, decode
from transom.storage.migrate import migrate

ROOT = Path(__file__).parents[2]
TRANSOM = (sys.executable, "-P", "-c", "from transom.cli.main import main; main()")
NO_ENGINE = "[engine]\nenabled = false\n"
_URL = re.compile(r"Transom answers at (http://\S+)")


class Answer(NamedTuple):
    """A plain HTTP answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    """Of a stream that a GET opens, which has no end, only the first line."""
    cookies: tuple[str, ...] = ()
    """Every Set-Cookie header."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def decision(self) -> str:
        return self.headers["transom-decision"]

    @property
    def text(self) -> str:
        return self.body.decode()

    def cookie(self, name: str) -> str:
        """What a cookie was set to, with its attributes."""
        return next(each for each in self.cookies if each.startswith(f"{name}=")).removeprefix(f"{name}=")

    def hidden(self, name: str) -> str:
        """The first hidden field of this name in a page."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found is not None, self.text
        return found[1]


class Server:
    """A home, and the door that serves it once `start` is called.

    `database`: its URL, where it is not SQLite. `policies`: instead of the starter's. `environment` is added to this
    process's own.
    """

    def __init__(
        self,
        home: Path,
        settings: str,
        *,
        workers: int = 1,
        database: str | None = None,
        environment: Mapping[str, str] | None = None,
        policies: str | None = None,
    ) -> None:
        self.home: Home = find_home(str(home))
        self.workers = workers
        self.environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._migrated = False
        home.mkdir(parents=True, exist_ok=True)
        storage = f"\n[storage]\ndatabase = {json.dumps(database)}\n" if database else ""
        self.home.settings.write_text(settings + storage)
        prepare(self.home)
        if policies is not None:
            self.write_policies(policies)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The process.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def tree(self) -> list[int]:
        """The process and its children."""
        return [self.pid, *children(self.pid)]

    def rss(self) -> int:
        """Resident memory of the whole tree in bytes."""
        return sum(resident(pid) for pid in self.tree())

    @property
    def output(self) -> str:
        """What it has said on standard output, over all its starts."""
        return self._said("output")

    @property
    def log(self) -> str:
        """What it has logged on standard error, over all its starts."""
        return self._said("log")

    def start(self, seconds: float = 30.0) -> Self:
        """Start it (again), on the port it had, and wait until it is ready."""
        begin = len(self.output)
        with (self.home.path / "output").open("ab") as output, (self.home.path / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*TRANSOM, "up", "--port", str(self.port), "--workers", str(self.workers)],
                env=self._environment(),
                stdout=output,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + seconds
        while True:
            found = _URL.search(self.output, begin)
            if found is not None:
                self.port = int(found[1].rpartition(":")[2])
                if self.is_ready():
                    return self
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"it is not ready:\n{self.output}\n{self.log}")
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Say whether it says so; not, where nobody answers."""
        with contextlib.suppress(OSError):
            return self.get("/readyz").status == 200
        return False

    def problems(self) -> dict[str, str]:
        """What keeps it from being ready, as it says itself; empty where nobody answers."""
        with contextlib.suppress(OSError):
            answer = self.get("/readyz")
            return dict(answer.json["problems"]) if answer.status == 503 else {}
        return {}

    def stop(self, seconds: float = 30.0, *, by: signal.Signals = signal.SIGINT) -> int:
        """End it politely, if it runs. Give its exit status."""
        process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(by)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end:\n{self.log}") from None
        finally:
            # Shown by pytest where the test fails.
            print(f"--- log of {self.home.path}\n{self.log[-20_000:]}")

    def kill(self) -> None:
        """Kill -9. Workers end by themselves when their parent is gone; this waits until they have."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        workers = children(process.pid)
        process.kill()
        process.wait(10)
        until = time.monotonic() + 10
        while any(alive(pid) for pid in workers):
            if time.monotonic() > until:
                for pid in workers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"workers outlived their parent:\n{self.log}")
            time.sleep(0.01)

    def run(
        self, *arguments: str, environment: Mapping[str, str] | None = None, before: Sequence[str] = ()
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of `transom` on this home. `before`: a command that runs it, such as `nice`."""
        return subprocess.run(
            [*before, *TRANSOM, *arguments],
            env=self._environment() | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        paths = filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH")))
        # A machine that keeps no compiled code would compile all of Transom for every one of hundreds of servers.
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return (
            ours
            | {"TRANSOM_HOME": str(self.home.path), "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
            | self.environment
        )

    def _said(self, file: str) -> str:
        path = self.home.path / file
        return path.read_text(errors="replace") if path.exists() else ""

    # Its files.

    def write_policies(self, text: str) -> None:
        """Put this in place of every policy."""
        for file in self.home.policies.glob("*.cedar"):
            if file.name != "starter.cedar":
                file.unlink()
        (self.home.policies / "starter.cedar").write_text(text)

    def holding(self, *needles: bytes) -> list[str]:
        """Name the files of the home that hold any of these bytes."""
        return [
            str(path.relative_to(self.home.path))
            for path in self.home.path.rglob("*")
            if path.is_file() and any(needle in path.read_bytes() for needle in needles)
        ]

    # Asking it.

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 20.0,
    ) -> Answer:
        """Ask on a connection of its own. `body`: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if data is not None else {}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, data, sent | dict(headers or {}))
            answer = connection.getresponse()
            found = [(name.lower(), value) for name, value in answer.getheaders()]
            endless = method == "GET" and dict(found).get("content-type", "").startswith("text/event-stream")
            cookies = tuple(value for name, value in found if name == "set-cookie")
            return Answer(answer.status, dict(found), answer.readline() if endless else answer.read(), cookies)
        finally:
            connection.close()

    def get(self, path: str, key: str | None = None) -> Answer:
        return self.ask("GET", path, key=key)

    def chat(self, model: str, key: str | None, content: str = "Is it true?", **fields: object) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": content}]} | fields
        return self.ask("POST", "/v1/chat/completions", key=key, body=body)

    # Its stores: what commands on the terminal do, without the start of a process each.

    @contextlib.contextmanager
    def stores(self) -> Iterator[Stores]:
        """Open what lives in the home, as commands on the terminal do."""
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        opened = open_stores(self.home)
        try:
            if not self._migrated:
                migrate(opened.database)
                self._migrated = True
            yield opened
        finally:
            opened.close()

    def issue(self, name: str, *groups: str, expires: int | None = None, terms: Terms = ANY) -> Issued:
        """Issue a key as `transom keys create` does."""
        with self.stores() as opened, opened.database.begin() as connection:
            return issue_key(connection, opened.keys, name, groups, by=TERMINAL, expires=expires, terms=terms)

    @functools.cached_property
    def key(self) -> str:
        """A developer's key, issued when it is first asked for."""
        return self.issue("tester", "developers").key

    def revoke(self, id_: str) -> None:
        """Revoke a key as `transom keys revoke` does."""
        with self.stores() as opened, opened.database.begin() as connection:
            revoke_key(connection, opened.keys, id_, by=TERMINAL)

    def story(self, decision: str, *, content: bool = False, ended: bool = True, seconds: float = 5.0) -> Story:
        """Read a decision's story as `transom explain` does; unless `ended` is false, once its outcome is on record."""
        until = time.monotonic() + seconds
        while True:
            with self.stores() as opened, opened.database.begin(write=False) as connection:
                vault = opened.vault if content else None
                with contextlib.suppress(NotFound):
                    story = stories.explain(connection, opened.objects, opened.keys, decision, vault=vault)
                    if story.outcome is not None or not ended:
                        return story
            assert time.monotonic() < until, f"decision {decision} has no outcome"
            time.sleep(0.02)

    def outcome(self, decision: str | None, seconds: float = 5.0) -> OutcomeEntry:
        """Read how a decision ended, once that is on record."""
        assert decision is not None
        outcome = self.story(decision, seconds=seconds).outcome
        assert outcome is not None
        return outcome

    def newest(self) -> str:
        """Give the id of the newest durable decision."""
        return [entry.id for entry in self.entries("decision/1")][-1]

    def logged(self, decision: str, seconds: float = 10.0) -> Story:
        """Read a decision's story once it, and its outcome, are in the log."""
        until = time.monotonic() + seconds
        while (story := self.story(decision)).outcome_inclusion is None or story.inclusion is None:
            assert time.monotonic() < until, f"decision {decision} is not in the log"
            time.sleep(0.05)
        return story

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Give every durable entry, in order; of one type (`policy/1`) where it is given."""
        with self.stores() as opened, opened.database.begin(write=False) as connection:
            rows = connection.execute(text("SELECT type, body FROM entry ORDER BY id"))
            return [decode(bytes(row.body)) for row in rows if kind in (None, row.type)]
