"""What is tried between every caller and every upstream: what is asked, and what the model answers to it."""

from dataclasses import dataclass

from tests.support.formats.talk import Ask, Counts, Result, Said, Token, Turn, Use

_HELLO = Turn(role="user", text="Is it true?")
_ASK = Ask(turns=(_HELLO,))
_TWO = (Use("call_1", {"city": "Paris"}), Use("call_2", {"city": "Oslo"}))
_FINE = Said(text="A fine answer.")


@dataclass(frozen=True)
class Feature:
    """A row of the table."""

    name: str
    ask: Ask = _ASK
    said: Said = _FINE
    spared: str = ""
    """The field of `ask` that an upstream may not be told of: it changes no answer."""


FEATURES = (
    Feature("Plain text"),
    Feature("System prompt", Ask(turns=(_HELLO,), system="Be brief.")),
    Feature(
        "Several turns",
        Ask(turns=(_HELLO, Turn(role="model", text="It is."), Turn(role="user", text="Why? ¿Por qué? 為什麼 🙂"))),
        Said(text="Because. ¡Porque! 因為 🙂"),
    ),
    Feature("A tool is asked for", Ask(turns=(_HELLO,), tools=True), Said(uses=_TWO[:1], stop="tools")),
    Feature(
        "Words, then a tool", Ask(turns=(_HELLO,), tools=True), Said(text="Let me see.", uses=_TWO[:1], stop="tools")
    ),
    Feature(
        "A tool's result",
        Ask(
            turns=(
                _HELLO,
                Turn(role="model", text="Let me see.", uses=_TWO[:1]),
                Turn(role="tools", results=(Result("call_1", "sunny"),)),
            ),
            tools=True,
        ),
    ),
    Feature(
        "A tool that failed",
        Ask(
            turns=(
                _HELLO,
                Turn(role="model", uses=_TWO[:1]),
                Turn(role="tools", results=(Result("call_1", "no such city", failed=True),)),
            ),
            tools=True,
        ),
    ),
    Feature(
        "A picture as a tool's result",
        Ask(
            turns=(
                _HELLO,
                Turn(role="model", uses=_TWO[:1]),
                Turn(role="tools", results=(Result("call_1", "a map", image=b"\x89PNG\xff"),)),
            ),
            tools=True,
        ),
    ),
    Feature("Tools in parallel", Ask(turns=(_HELLO,), tools=True), Said(uses=_TWO, stop="tools")),
    Feature(
        "Results in parallel",
        Ask(
            turns=(
                _HELLO,
                Turn(role="model", uses=_TWO),
                Turn(role="tools", results=(Result("call_1", "sunny"), Result("call_2", "wet"))),
            ),
            tools=True,
        ),
    ),
    Feature("A tool must be used", Ask(turns=(_HELLO,), tools=True, choice="required")),
    Feature("This tool must be used", Ask(turns=(_HELLO,), tools=True, choice="named")),
    Feature("One tool at a time", Ask(turns=(_HELLO,), tools=True, one_tool=True)),
    Feature("Image", Ask(turns=(Turn(role="user", text="What is it?", image=b"\x89PNG\xff\xfe"),))),
    Feature(
        "Image by its URL",
        Ask(turns=(Turn(role="user", text="What is it?", image_url="https://pictures.example/a.png"),)),
    ),
    Feature("Audio", Ask(turns=(Turn(role="user", text="What is it?", audio=b"RIFF\xff"),), system="Be brief.")),
    Feature("Document (PDF)", Ask(turns=(Turn(role="user", text="What is it?", document=b"%PDF-1.7\xff"),))),
    Feature(
        "Reasoning asked for, and shown",
        Ask(turns=(_HELLO,), effort="high", max_tokens=30_000),
        Said(thought="Is it? It is.", text="Yes."),
    ),
    Feature("Stop: at its limit", said=Said(text="A fine", stop="length")),
    Feature("Stop: withheld", said=Said(text="A fine", stop="filter")),
    Feature("Usage, cached and reasoning tokens in it", said=Said(text="Yes.", counts=Counts(14_000, 9_000, 700, 300))),
    Feature("Structured output", Ask(turns=(_HELLO,), schema=True), Said(text='{"name": "Ada"}')),
    Feature("JSON of any kind", Ask(turns=(_HELLO,), json=True), Said(text='{"name": "Ada"}')),
    Feature(
        "Log probabilities",
        Ask(turns=(_HELLO,), logprobs=2),
        Said(
            text="Yes.",
            logprobs=(
                Token("Yes", -0.25, (("Yes", -0.25), ("No", -1.5))),
                Token(".", -0.125, ((".", -0.125), ("!", -2.5))),
            ),
        ),
    ),
    Feature("Temperature", Ask(turns=(_HELLO,), temperature=0.5)),
    Feature("Temperature above 1", Ask(turns=(_HELLO,), temperature=1.5)),
    Feature("`top_k`", Ask(turns=(_HELLO,), top_k=40)),
    Feature("Stop sequences", Ask(turns=(_HELLO,), stop=("END",))),
    Feature("Seed", Ask(turns=(_HELLO,), seed=7)),
    Feature("Penalties", Ask(turns=(_HELLO,), penalty=0.5)),
    Feature("Several answers", Ask(turns=(_HELLO,), choices=2), Said(text="Yes.", other="No.")),
    Feature("The end user's name", Ask(turns=(_HELLO,), user="ada"), spared="user"),
)
"""Those where what arrives must be what was asked, and what the caller reads must be what was said."""
BACK = Feature(
    "Signed reasoning goes back to its model",
    Ask(turns=(_HELLO,), tools=True, effort="high", max_tokens=30_000),
    Said(thought="I must look.", signature="c2lnbmVk", uses=_TWO[:1], stop="tools"),
)
NATIVE = Feature("What this API alone has", Ask(turns=(_HELLO,), native=True))
HINT = Feature("What changes no answer", Ask(turns=(_HELLO,), hint=True), spared="hint")
