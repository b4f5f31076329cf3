import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.config.duration import Duration
from transom.config.files import Source, parse, read, relocate
from transom.config.secrets import SecretRef
from transom.errors import ConfigError, ConfigErrors

SECRET = "sk-do-not-show"


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Gateway(Struct, frozen=True):
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 8080
    open: bool = False


class Upstream(Struct, frozen=True):
    base_url: str
    key: SecretRef | None = None
    headers: dict[str, str | SecretRef] = {}
    timeout: Duration = Duration(30)
    mode: Literal["fast", "slow"] = "fast"

    def __post_init__(self) -> None:
        if not self.base_url.startswith("http"):
            raise ValueError("base_url must begin with http")


class Step(Struct, frozen=True):
    upstream: str


class Model(Struct, frozen=True):
    route: Annotated[tuple[Step | str, ...], msgspec.Meta(max_length=2)] = ()
    weight: float | None = None


SECTIONS: dict[str, Any] = {"gateway": Gateway, "upstreams": dict[str, Upstream], "models": dict[str, Model]}


def problems(text: str, sections: dict[str, Any] | None = None) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        parse(text.encode(), "transom.toml", SECTIONS if sections is None else sections)
    assert SECRET not in str(caught.value)
    return caught.value.problems


def test_a_good_file_becomes_frozen_values(tmp_path: Path) -> None:
    path = tmp_path / "transom.toml"
    path.write_text("""
[gateway]
port = 9
[upstreams.a]
base_url = "https://a"
key = { env = "A" }
headers = { x = "y", z = { file = "/z" } }
timeout = "2m"
[models."a@1"]
route = ["a", { upstream = "b" }]
weight = 1
""")
    source = read(path)
    assert parse(source.data, source.file, SECTIONS) == {
        "gateway": Gateway(9),
        "upstreams": {
            "a": Upstream("https://a", SecretRef(env="A"), {"x": "y", "z": SecretRef(file="/z")}, Duration(120), "fast")
        },
        "models": {"a@1": Model(("a", Step("b")), 1.0)},
    }


def test_an_absent_section_has_its_defaults() -> None:
    assert parse(b"", "transom.toml", SECTIONS) == {"gateway": Gateway(), "upstreams": {}, "models": {}}


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("[gatway]\n", (1, 2), "gatway is not a setting. Did you mean gateway?"),
        ("x = 1\n", (1, 1), "x is not a setting. It may be gateway, upstreams, models."),
        ("[gateway]\nprot = 1\n", (2, 1), "gateway.prot is not a setting. Did you mean port?"),
        ('[gateway]\nport = "9"\n', (2, 8), "must be a whole number, not text in quotes. Write it without quotes."),
        ("[gateway]\nport = 0\n", (2, 8), "gateway.port must be a whole number >= 1."),
        ("gateway = 1\n", (1, 11), "gateway must be a table, not a whole number."),
        ("[gateway]\nopen = 1979-05-27\n", (2, 8), "must be true or false, not a date."),
        ("[upstreams.a]\n", (1, 12), "upstreams.a needs base_url, which is missing. Add base_url = …"),
        ("[upstreams]\na.base_url = 1\n", (2, 14), "must be text in quotes, not a whole number. Put it in quotes."),
        ('[upstreams.a]\nbase_url = "ftp:"\n', (1, 12), "upstreams.a is wrong: base_url must begin with http."),
        ('[upstreams."a.b"]\nbase_url = []\n', (2, 12), 'upstreams."a.b".base_url must be text in quotes, not a list'),
        (
            '[upstreams.a]\nbase_url = "http:"\ntimeout = 3\n',
            (3, 11),
            'must be a length of time in quotes, such as "30d"',
        ),
        ('[upstreams.a]\nbase_url = "http:"\ntimeout = "3"\n', (3, 11), "'3' is not a length of time."),
        ('[upstreams.a]\nbase_url = "http:"\nmode = "slwo"\n', (3, 8), "Did you mean slow?"),
        ('[upstreams.a]\nbase_url = "http:"\nmode = "x"\n', (3, 8), "It may be fast, slow."),
        (f'[upstreams.a]\nbase_url = "http:"\nkey = "{SECRET}"\n', (3, 7), '{ env = "NAME" }'),
        (f'[upstreams.a]\nbase_url = "http:"\nkey.vlaue = "{SECRET}"\n', (3, 5), "key.vlaue is not a setting."),
        ('[upstreams.a]\nbase_url = "http:"\nkey = {}\n', (3, 7), "exactly one of"),
        ("[models.a]\nroute = [\n  3,\n]\n", (3, 3), "models.a.route[0] must be text in quotes or a table"),
        ('[models.a]\nroute = ["a", { upstrem = "b" }]\n', (2, 17), "models.a.route[1].upstrem is not a setting."),
        ("[[models.a.route]]\n", (1, 12), "models.a.route[0] needs upstream"),
        ('[models.a]\nroute = ["a", "b", "c"]\n', (2, 9), "must be a list [ … ] of length <= 2."),
        ('[models.a]\nweight = "1"\n', (2, 10), "must be a number, not text in quotes. Write it without quotes."),
    ],
)
def test_a_problem_says_where_what_and_how_to_mend_it(text: str, place: tuple[int, int], says: str) -> None:
    places = [(problem.file, problem.line, problem.column) for problem in problems(text)]
    assert ("transom.toml", *place) in places
    assert says in str(next(problem for problem in problems(text) if (problem.line, problem.column) == place))


def test_one_reading_finds_every_problem_in_the_order_of_the_file() -> None:
    found = problems('[models.a]\nx = 1\nweight = "x"\n[gateway]\nport = ""\nopen = 1\n[upstreams.a]\n')
    assert [problem.line for problem in found] == [2, 3, 5, 6, 7]


def test_a_missing_section_that_is_needed_is_named_without_a_place() -> None:
    (found,) = problems("", {"upstream": Upstream})
    assert str(found) == "transom.toml: upstream needs base_url, which is missing. Add base_url = …"


def test_a_section_may_be_a_list_of_tables() -> None:
    sections = {"steps": tuple[Step, ...]}
    assert parse(b"", "transom.toml", sections) == {"steps": ()}
    assert parse(b'[[steps]]\nupstream = "a"\n', "transom.toml", sections) == {"steps": (Step("a"),)}
    (found,) = problems("[[steps]]\n", sections)
    assert str(found).startswith("transom.toml:1:3: steps[0] needs upstream")


def test_a_struct_without_fields_says_remove_it() -> None:
    (found,) = problems("[x]\na = 1\n", {"x": Struct})
    assert str(found).endswith("x.a is not a setting. Remove it.")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("[gateway]\nport = \n", 2, 8), ("[gateway]\nport = 1\nport = 2\n", 3, 9), ("\nx = [1,\n", 3, None)],
)
def test_broken_toml_keeps_the_parsers_place(text: str, line: int, column: int | None) -> None:
    (found,) = problems(text)
    assert (found.line, found.column) == (line, column)


def test_a_file_that_is_not_utf_8_says_where() -> None:
    with pytest.raises(ConfigErrors, match=r"^transom.toml:2: is not UTF-8"):
        parse(b"\n\xff", "transom.toml", SECTIONS)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="cannot be read: No such file"):
        read(tmp_path / "transom.toml")


def test_a_type_that_no_setting_can_have_is_a_programmers_error() -> None:
    with pytest.raises(NotImplementedError):
        parse(b"x.y = 1", "transom.toml", {"x": dict[str, complex]})


def test_a_later_check_finds_its_place_by_the_path() -> None:
    data = b'\n[models."a.1"]\nroute = ["x",\n"y"]\n'
    problems = [
        ConfigError("names x.", file="models.a.1.route"),
        ConfigError("names y.", file="models.a.1.route.1"),
        ConfigError("else.", file="elsewhere"),
    ]
    said = (
        'transom.toml:3:9: models."a.1".route: names x.\n'
        'transom.toml:4:1: models."a.1".route[1]: names y.\n'
        "elsewhere: else."
    )
    assert str(relocate(ConfigErrors(problems), data, "transom.toml")) == said
    with pytest.raises(ConfigErrors) as raised, Source("transom.toml", data).placing():
        raise ConfigErrors(problems)
    assert str(raised.value) == said
    with pytest.raises(ConfigErrors) as raised, Source("transom.toml", data).placing():
        raise problems[0]
    assert str(raised.value) == said.splitlines()[0]


toml_values = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.sampled_from(["a", "b"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["base_url", "key", "route", "port", "env", "z"]), inner, max_size=3),
    ),
    max_leaves=8,
)


def write(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {write(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@given(st.dictionaries(st.sampled_from(["gateway", "upstreams", "models", "z"]), toml_values, max_size=4))
def test_piece_by_piece_accepts_exactly_what_the_whole_type_accepts(document: dict[str, object]) -> None:
    text = "".join(f"{key} = {write(value)}\n" for key, value in document.items())
    assert tomllib.loads(text) == document
    try:
        expected: dict[str, Any] | None = {
            name: msgspec.convert(document.get(name, {}), wanted) for name, wanted in SECTIONS.items()
        }
    except msgspec.ValidationError:
        expected = None
    if expected is None or not document.keys() <= SECTIONS.keys():
        assert all(problem.line is not None for problem in problems(text))
    else:
        assert parse(text.encode(), "transom.toml", SECTIONS) == expected
