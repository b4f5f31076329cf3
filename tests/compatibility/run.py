"""One caller, one upstream, one feature: what comes of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.compatibility.callers.anthropic_messages import Messages
from tests.compatibility.callers.caller import Caller, Kind, NotInThisApi, Refused
from tests.compatibility.callers.gemini_generate import Generate
from tests.compatibility.callers.openai_chat import Chat
from tests.compatibility.callers.openai_responses import Responses
from tests.compatibility.features import BACK, FEATURES, HINT, NATIVE, Feature
from tests.support.formats import anthropic_messages, gemini_generate, openai_chat, openai_responses
from tests.support.formats.format import Talking
from tests.support.formats.talk import Ask, Result, Said, Turn
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream

CALLERS: tuple[type[Caller], ...] = (Chat, Responses, Messages, Generate)
FORMATS: dict[str, Talking] = {
    "openai-chat": openai_chat,
    "openai-responses": openai_responses,
    "anthropic-messages": anthropic_messages,
    "gemini-generate": gemini_generate,
}
_MODELS = {"anthropic-messages": "claude-sonnet-4-5", "gemini-generate": "gemini-2.5-flash"}
"""Where a vendor's models differ in what they take, one that takes budgets to think."""
_WORDS = "said by the vendor"
CARRIED, ABSENT = "carried", "not in this API"
ERRORS = (
    "Error: the upstream refuses the request",
    "Error: the upstream takes no more",
    "Error: in the middle of a stream",
    "Error: Transom's own",
)
ROWS = (*(feature.name for feature in FEATURES), BACK.name, *ERRORS, NATIVE.name, HINT.name)


@dataclass
class Bench:
    """A door, and behind it an upstream for each API."""

    upstream: Upstream
    callers: dict[str, Caller]
    """By what they speak."""


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Start one."""
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        sections = [
            f'[upstreams.{name}]\nbase_url = "{upstream.url_of(name)}"\nspeaks = ["{name}"]\n'
            f'[models.via-{name}]\nroute = [{{ upstream = "{name}", model = "{_model(name)}" }}]\n'
            for name in FORMATS
        ]
        server = stack.enter_context(Server(folder / "home", NO_ENGINE + "".join(sections)))
        key = server.start().issue("tester", "developers").key
        callers = {kind.DIALECT: kind(server.url, key) for kind in CALLERS}
        for caller in callers.values():
            stack.callback(caller.close)
        yield Bench(upstream, callers)


class Cell:
    """One caller before one upstream, streamed or not."""

    def __init__(self, bench: Bench, caller: Caller, spoken: str, *, stream: bool) -> None:
        self._bench = bench
        self._caller = caller
        self._spoken = spoken
        self._format = FORMATS[spoken]
        self._stream = stream

    def outcomes(self) -> dict[str, str]:
        """What comes of each row. Fails where anything is lost or altered on the way without a word."""
        found = {feature.name: self._carried(feature) for feature in FEATURES}
        found[BACK.name] = self._goes_back()
        found |= dict(zip(ERRORS, self._errors(), strict=True))
        return found | {feature.name: self._carried(feature) for feature in (NATIVE, HINT)}

    def _answer(self, said: Said) -> None:
        """Have the upstream say this."""
        model = _model(self._spoken)
        if self._stream:
            script = Script(events=list(self._format.say_streamed(said, model)))
        else:
            script = Script(body=self._format.say(said, model))
        self._bench.upstream.scripts[self._spoken] = script

    def _ask(self, ask: Ask, model: str | None = None) -> Said:
        self._bench.upstream.seen.clear()
        return self._caller.ask(ask, model or f"via-{self._spoken}", stream=self._stream)

    def _heard(self) -> Ask:
        """What arrived."""
        (seen,) = self._bench.upstream.seen
        return self._format.hear(seen.path, seen.json)

    def _carried(self, feature: Feature) -> str:
        self._answer(feature.said)
        try:
            read = self._ask(feature.ask)
        except NotInThisApi:
            return ABSENT
        except Refused as refused:
            return self._refused(refused)
        assert read == feature.said, f"{feature.name}: the client read\n{read}, not\n{feature.said}"
        heard = self._heard()
        if heard == feature.ask:
            assert self._untold is None
            return CARRIED
        lost = f"{feature.name}: the upstream heard\n{heard}, not\n{feature.ask}"
        assert feature.spared, lost
        assert replace(heard, **{feature.spared: getattr(feature.ask, feature.spared)}) == feature.ask, lost
        assert self._untold is not None
        return f"left out, and said: {self._own(self._untold)}"

    @property
    def _untold(self) -> str | None:
        """What the upstream was not told, as the answer's header says."""
        return self._caller.wire.headers.get("transom-not-carried")

    def _refused(self, refused: Refused) -> str:
        """A refusal names a field of what the client really sent, and nothing has been sent on."""
        assert refused.kind == "invalid", refused
        assert not self._bench.upstream.seen
        return f"refused: {self._own(refused.words.split('`')[1])}"

    def _goes_back(self) -> str:
        self._answer(BACK.said)
        read = self._ask(BACK.ask)
        first, use = BACK.ask.turns[0], BACK.said.uses[0]
        thought = Turn(
            role="model", thought=BACK.said.thought, signature=BACK.said.signature, uses=BACK.said.uses, raw=read.raw
        )
        results = Turn(role="tools", results=(Result(use.id, "sunny"),))
        return self._carried(Feature(BACK.name, replace(BACK.ask, turns=(first, thought, results))))

    def _errors(self) -> Iterator[str]:
        refusals: tuple[tuple[int, Kind], ...] = ((400, "invalid"), (429, "too many"))
        for status, kind in refusals:
            script = Script(status=status, body=self._format.error(status, _WORDS))
            self._bench.upstream.scripts[self._spoken] = script
            # What concerns the request the caller reads in the vendor's words; not what concerns Transom's own key.
            yield self._raises(kind, _WORDS if status == 400 else "")
        yield self._breaks() if self._stream else ""
        yield self._raises("missing", "nonsense", model="nonsense")

    def _breaks(self) -> str:
        events = list(self._format.broken_stream(_WORDS, _model(self._spoken)))
        self._bench.upstream.scripts[self._spoken] = Script(events=events)
        return self._raises("failed", _WORDS)

    def _raises(self, kind: Kind, words: str, model: str | None = None) -> str:
        with pytest.raises(Refused) as raised:
            self._ask(Feature("").ask, model)
        assert raised.value.kind == kind
        assert words in raised.value.words
        return CARRIED

    def _own(self, field: str) -> str:
        """The name of a field, which stands in what the client really sent."""
        place = self._caller.wire.sent
        for step in field.split("."):
            assert step in place if isinstance(place, dict) else int(step) < len(place), f"no {field} in {place}"
            place = place[step] if isinstance(place, dict) else place[int(step)]
        return f"`{field}`"


def _model(spoken: str) -> str:
    return _MODELS.get(spoken, "chat")
