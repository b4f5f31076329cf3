"""LiteLLM's configuration becomes files that Transom serves by, and whatever could not be carried is told of."""

import contextlib
import json
import shlex
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.coming_from.configs import KEYS, NASTY, REALISTIC, SECRETS, TEAMS, VARIABLES

from transom.app.declared import read_running, read_settings
from transom.app.home import Home, prepare
from transom.coming_from.litellm import from_litellm
from transom.coming_from.result import Imported
from transom.errors import ConfigError
from transom.gateway.running import Running
from transom.values import DOOR, Caller, CallerId, Context, Pseudonym, RequestedModel

ENVIRONMENT = {"VLLM_URL": "http://127.0.0.1:8000/v1"}


def imported(config: str, *exports: bytes) -> Imported:
    named = [(f"export{index}.json", data) for index, data in enumerate(exports)]
    return from_litellm(config.encode(), "config.yaml", named, ENVIRONMENT)


def in_force(found: Imported, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Read the files as a start does, in a home of their own."""
    for name, text in found.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for variable in found.environment:
        monkeypatch.setenv(variable, "a-key")
    home = Home(folder)
    prepare(home)
    return read_running(home, read_settings(home))


def declared(found: Imported) -> dict[str, Any]:
    return tomllib.loads(found.files["transom.toml"])


def told(found: Imported) -> dict[str, str]:
    return {left.place: left.what for left in found.left}


def test_what_people_have_becomes_what_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = imported(REALISTIC)
    running = in_force(found, tmp_path, monkeypatch)
    assert {version.model for version in running.registry.versions} == {
        "gpt-4o", "gpt-4", "claude", "gemini", "local", "tiny", "fast", "vectors",
    }  # fmt: skip
    said = declared(found)
    assert said["upstreams"]["azure-gpt-4o-eu"] == {
        "base_url": "https://acme-eu.openai.azure.com/openai/deployments/gpt-4o-eu",
        "query": {"api-version": "2024-10-21"},
        "key": {"env": "AZURE_EU_KEY"},
        "key_header": "api-key",
        "timeouts": {"whole": 120, "first_byte": 120},
        "region": "eu",
        "breaker": {"failures": 4, "open_seconds": 30},
    }
    assert said["upstreams"]["anthropic"]["speaks"] == ["anthropic-messages"]
    assert said["upstreams"]["anthropic"]["timeouts"] == {"whole": 300, "first_byte": 300}
    assert said["upstreams"]["gemini"]["base_url"] == "https://generativelanguage.googleapis.com/v1beta"
    assert said["upstreams"]["ollama-chat-127-0-0-1"]["base_url"] == "http://127.0.0.1:11434/v1"
    assert said["upstreams"]["hosted-vllm-127-0-0-1"]["max_concurrent"] == 32
    assert said["upstreams"]["openai"]["prices"]["gpt-4o"] == {"currency": "USD", "input": "2.5", "output": "10"}
    assert said["models"]["gpt-4o"] == {
        "route": [
            {"upstream": "azure-gpt-4o-eu", "model": "gpt-4o-eu", "weight": 600, "priority": 1},
            {"upstream": "azure-gpt-4o-se", "model": "gpt-4o-se", "weight": 200, "priority": 1},
            {"upstream": "openai", "weight": 200, "priority": 2},
        ],
        "max_output_tokens": 16384,
        "choose": "weighted",
        "retry": {"attempts": 3},
        "fallback": ["claude", "local"],
    }
    assert said["models"]["gpt-4"]["route"][2] == {
        "upstream": "openai", "model": "gpt-4o", "weight": 200, "priority": 2,
    }  # fmt: skip
    assert said["models"]["vectors"]["kind"] == "embedding"
    assert set(found.environment) == set(VARIABLES)


def test_what_could_not_be_carried_is_told_of_with_its_place() -> None:
    found = imported(REALISTIC)
    places = told(found)
    assert (
        "base_url https://bedrock-runtime.REGION.amazonaws.com/openai/v1"
        in places["model_list[9].litellm_params.model"]
    )
    assert "endpoints/openapi" in places["model_list[10].litellm_params.model"]
    assert "every model is declared" in places["model_list[11].model_name"]
    assert "image_generation" in places["model_list[12].model_info.mode"]
    assert "ANTHROPIC_API_KEY" in places["model_list[3].litellm_params.api_key"]
    assert "every model needs a price" in places["litellm_settings.max_budget"]
    for place in (
        "router_settings.context_window_fallbacks", "router_settings.redis_host", "litellm_settings.drop_params",
        "litellm_settings.success_callback", "general_settings.master_key", "general_settings.database_url",
        "environment_variables",
    ):  # fmt: skip
        assert place in places
    (key,) = [left for left in found.left if left.place == "model_list[3].litellm_params.api_key"]
    assert REALISTIC.splitlines()[key.line - 1].strip().startswith("api_key: sk-ant")
    assert str(key).startswith(f"config.yaml:{key.line}: model_list[3].litellm_params.api_key: ")


@pytest.mark.parametrize("config", [REALISTIC, NASTY])
def test_a_secret_in_the_clear_goes_nowhere(config: str) -> None:
    found = imported(config, KEYS, TEAMS)
    everything = "\n".join([*found.files.values(), *map(str, found.left), *found.environment])
    assert [secret for secret in SECRETS if secret in everything] == []


def test_what_nobody_should_have_is_told_of_and_the_rest_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = imported(NASTY, KEYS, TEAMS)
    running = in_force(found, tmp_path, monkeypatch)
    assert {version.model for version in running.registry.versions} == {
        "two-words-1", 'quote"d', "tab-here", "mixed", "headers", "fine",
    }  # fmt: skip
    said = declared(found)
    assert said["models"]['quote"d']["fallback"] == ["headers"]
    assert said["models"]["mixed"]["retry"] == {"attempts": 20}
    (upstream,) = [each for each in said["upstreams"].values() if "headers" in each]
    assert upstream["headers"] == {"x-api-token": {"env": "X_API_TOKEN"}, "x-fine": "yes please"}
    places = told(found)
    for number, setting in (
        (0, ""), (1, ""), (2, ".model_name"), (3, ".model_name"), (5, ".litellm_params.model"), (7, ".model_name"),
        (8, ".litellm_params.api_base"), (9, ".litellm_params.api_base"), (10, ".litellm_params.api_base"),
        (11, ".litellm_params.api_base"), (12, ".litellm_params.model"), (13, ".litellm_params.model"),
        (15, ".model_info"), (17, ".litellm_params.api_key"), (17, ".litellm_params.rpm"),
        (17, ".litellm_params.temperature"), (18, ".model_name"),
    ):  # fmt: skip
        assert f"model_list[{number}]{setting}" in places
    for place in (
        "include", "router_settings.routing_strategy", 'router_settings.fallbacks[0].quote"d[1]', "another",
        "router_settings.model_group_alias.a b", "router_settings.model_group_alias.lost", "litellm_settings",
        "general_settings.global_max_parallel_requests", "general_settings.brand_new_setting",
    ):  # fmt: skip
        assert place in places


def rule(running: Running, model: str, *groups: str) -> str:
    version = running.registry.resolve_for(RequestedModel(model), "chat")
    return running.policies.rule(of(groups), "infer", version.resource, Context()).effect


def of(groups: tuple[str, ...]) -> Caller:
    return Caller(CallerId("key_1"), "somebody", groups, Pseudonym("p"))


def test_teams_and_keys_become_groups_limits_and_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = imported(REALISTIC, TEAMS, KEYS)
    running = in_force(found, tmp_path, monkeypatch)
    script = found.files["create-keys.sh"].splitlines()
    assert "transom keys create ada --group litellm-data-science --model gpt-4o" in script
    assert "transom keys create ada-2 --group litellm-team-gone" in script
    assert not any("blocked" in line or "nothing" in line for line in script)
    limits = {limit["name"]: limit for limit in declared(found)["limits"]}
    assert limits["ada"] == {
        "name": "ada", "key": "ada", "requests_per_minute": 60, "concurrent": 4,
        "money": {"amount": "20.5", "currency": "USD", "per": "month"},
    }  # fmt: skip
    assert limits["litellm-data-science"] == {
        "name": "litellm-data-science", "group": "litellm-data-science", "per": "all", "tokens_per_minute": 100_000,
    }  # fmt: skip
    (apart,) = [limit for limit in limits.values() if "model" in limit]
    assert (apart["key"], apart["model"], apart["requests_per_minute"]) == ("ada", "gpt-4o", 10)
    assert rule(running, "gpt-4o", "litellm-data-science") == "permit"
    assert rule(running, "claude", "litellm-data-science") == "permit"
    assert rule(running, "gemini", "litellm-data-science") == "forbid"
    assert rule(running, "gemini", "litellm") == "permit"
    assert rule(running, "gpt-4o", "litellm-team-gone") == "forbid"
    whats = [left.what for left in found.left if left.file.startswith("export")]
    assert any("'7d' begins anew" in what for what in whats)
    assert any("did not come along, so no policy permits its keys anything" in what for what in whats)
    assert any("forbids everything" in what for what in whats)


def people(*teams: tuple[str, list[str]]) -> bytes:
    """Teams of these names and models, and a key in each."""
    said = [
        {"team_id": f"id{index}", "team_alias": name, "models": models} for index, (name, models) in enumerate(teams)
    ]
    keys = [{"token": "t", "key_alias": f"of {name}", "team_id": f"id{index}"} for index, (name, _) in enumerate(teams)]
    return json.dumps([*said, *keys, {"token": "t", "key_alias": "alone"}]).encode()


def groups_of(found: Imported) -> dict[str, str]:
    """Which group the script puts each key into."""
    commands = [shlex.split(line) for line in found.files["create-keys.sh"].splitlines() if line.startswith("transom")]
    return {words[3]: words[5] for words in commands}


def test_a_teams_name_gives_nobody_more_than_the_team_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = ("Operators", "Developers", "Auditors", "students", "reviewers", "monitors", "litellm", "litellm-operators")
    found = imported(REALISTIC, people(*((name, ["gpt-4o"]) for name in named)))
    running = in_force(found, tmp_path, monkeypatch)
    groups = groups_of(found)
    assert groups.pop("alone") == "litellm"
    assert len(set(groups.values())) == len(named)
    for group in groups.values():
        assert rule(running, "gpt-4o", group) == "permit"
        assert rule(running, "gemini", group) == "forbid"
        for action in ("manage_keys", "view_console", "read_metrics"):
            assert running.policies.rule(of((group,)), action, DOOR, Context()).effect == "forbid"
    assert rule(running, "gemini", "litellm") == "permit"


def test_a_key_of_a_team_that_is_missing_is_in_no_other_team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [{"token": "a", "key_alias": each, "team_id": each} for each in ("gone", "Gone", "go ne", "go-ne")]
    team = {"team_id": "t1", "team_alias": "team-gone", "models": []}
    found = imported(REALISTIC, json.dumps([team, *keys]).encode())
    running = in_force(found, tmp_path, monkeypatch)
    groups = groups_of(found)
    assert len(set(groups.values())) == len(keys)
    assert {rule(running, "gpt-4o", group) for group in groups.values()} == {"forbid"}


LINES = "2027\ntouch it #"


@pytest.mark.parametrize(
    "expires", [LINES, "2027-01-01\n00:00:00", "`touch it`", "$(touch it)", "2027-01-01T00:00:00Z"]
)
def test_the_script_does_nothing_but_issue_keys(tmp_path: Path, expires: str) -> None:
    config = json.dumps({"model_list": [{"model_name": "$(touch${IFS}it)", "litellm_params": {"model": "openai/m"}}]})
    team = {"team_id": LINES, "team_alias": LINES, "models": []}
    key = {"token": LINES, "key_alias": LINES, "key_name": LINES, "expires": expires, "models": ["*it)"]}
    exports = [team, key | {"team_id": LINES}, key | {"team_id": "gone" + LINES}, key | {"key_alias": "'; touch it; '"}]
    found = imported(config, json.dumps(exports).encode())
    (tmp_path / "transom").write_text('#!/bin/sh\nprintf "%s|" "$@" >> issued\n')
    (tmp_path / "transom").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["/bin/sh", "-c", found.files["create-keys.sh"]], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "issued").read_text().count("--model|$(touch${IFS}it)|") == 3
    assert not (tmp_path / "it").exists()
    dates = [line for line in found.files["create-keys.sh"].splitlines() if "was to expire" in line]
    read = expires.startswith("2027-01-01")
    assert [line[:51] for line in dates] == ["# The next one was to expire at 2027-01-01T00:00:00"] * 3 * read
    assert sum("is no date" in left.what for left in found.left) == (0 if read else 3)


def test_a_page_of_several_says_so() -> None:
    page = json.dumps({"keys": [{"token": "a", "key_alias": "ada"}], "current_page": 1, "total_pages": 3})
    found = imported(REALISTIC, page.encode())
    assert [left.what for left in found.left if left.file.startswith("export")] == [
        "is one page of 3. Hand over all: --keys may be repeated."
    ]


def test_a_server_of_ones_own_never_gets_a_vendors_key() -> None:
    config = """
model_list:
  - {model_name: a, litellm_params: {model: openai/m, api_base: "https://mine.example/v1"}}
  - {model_name: b, litellm_params: {model: anthropic/claude-x, api_base: "https://mine.example"}}
"""
    found = imported(config)
    assert found.environment == ()
    assert [upstream["base_url"] for upstream in declared(found)["upstreams"].values()] == [
        "https://mine.example/v1",
        "https://mine.example/v1",
    ]
    assert "OPENAI_API_KEY unasked" in told(found)["model_list[0].litellm_params.api_key"]


def test_an_answer_of_hashes_alone_says_what_to_ask_for() -> None:
    found = imported(REALISTIC, b'{"keys": ["0a1b"], "total_count": 1}', b"{}")
    whats = [left.what for left in found.left if left.file.startswith("export")]
    assert len(whats) == 2
    assert all("return_full_object=true" in what for what in whats)


@pytest.mark.parametrize(
    ("config", "line", "words"),
    [
        ("model_list: [", 1, "not YAML"),
        ("a: 1\nb: {c: d", 2, "not YAML"),
        ("a: 1\na: 2\n", 2, "twice"),
        ("a:\n  - !!python/object/apply:os.system [id]\n", 2, "tag"),
        ("a: !!binary aGk=\n", 1, "tag"),
        ("a: &a [*a]\n", 1, "part of"),
        ("a: &a\n  <<: *a\n", 1, "part of"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML"),
        ("? [a]\n: 1\n", 1, "a word"),
        ("<<: [1]\n", 1, "no mapping"),
        ("a: " + "[" * 3000, None, "nested too deeply"),
        ('a: "\\UFFFFFFFF"\n', None, "not YAML"),
        ("a: \x00", None, "not YAML"),
        ("#" * (1 << 21), None, "longer than"),
    ],
)
def test_what_is_no_configuration_is_said_with_its_line(config: str, line: int | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        imported(config)
    assert raised.value.file == "config.yaml"
    assert raised.value.line == line


def test_what_is_not_utf8_is_said_with_its_line() -> None:
    with pytest.raises(ConfigError, match="UTF-8") as raised:
        from_litellm(b"a: 1\nb: \xff\n", "config.yaml")
    assert raised.value.line == 2


def test_a_short_text_cannot_stand_for_a_huge_value() -> None:
    levels = ["a0: &a0 {x: y}"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    found = imported("\n".join([*levels, "model_list: *a59"]))
    assert len(found.left) > 0
    merges = ["m0: &m0 {k0: 0}"] + [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 0}}" for n in range(1, 2000)]
    with pytest.raises(ConfigError, match="merged"):
        imported("\n".join(merges))


_WORDS = st.sampled_from(
    ["gpt-4o", "two words", "a@b", 'quo"te\\', "*", "", "é", "a\x07", "os.environ/X", "os.environ/1 2", "openai/gpt-4o",
     "azure/dep", "anthropic/claude-x", "gemini/g", "hosted_vllm/m", "bedrock/x", "https://host/v1", "http://[",
     "https://u:p@h/v1", "https://ho st/", "embedding", "chat", "least-busy", "cost-based-routing", "30d", "1e-7",
     "key", "text-embedding-3-small", "eu"]
)  # fmt: skip
_NAMES = st.sampled_from(
    [
        "model_name",
        "litellm_params",
        "model_info",
        "model",
        "api_base",
        "api_key",
        "api_version",
        "rpm",
        "weight",
        "order",
        "timeout",
        "stream_timeout",
        "mode",
        "input_cost_per_token",
        "output_cost_per_token",
        "max_output_tokens",
        "extra_headers",
        "organization",
        "max_parallel_requests",
        "region_name",
        "routing_strategy",
        "num_retries",
        "allowed_fails",
        "cooldown_time",
        "fallbacks",
        "default_fallbacks",
        "model_group_alias",
        "max_budget",
        "budget_duration",
        "keys",
        "teams",
        "key_alias",
        "team_id",
        "team_alias",
        "models",
        "rpm_limit",
        "tpm_limit",
        "access_groups",
        "blocked",
        "token",
        "global_max_parallel_requests",
        "model_rpm_limit",
        "gpt-4o",
        "custom_llm_provider",
        "input_cost_per_second",
    ]
)
_SCALARS = (
    _WORDS
    | st.none()
    | st.booleans()
    | st.integers(-3, 10**25)
    | st.floats(width=32, allow_nan=False, allow_infinity=False)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES | _WORDS, inner, max_size=5),
    max_leaves=12,
)


def _shaped(fields: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Mostly what it should be, sometimes anything."""
    return st.fixed_dictionaries({}, optional={name: each | _VALUES for name, each in fields.items()})


_NUMBERS = st.integers(0, 5) | st.floats(0, 2, width=32)
_PARAMS = _shaped(
    {"model": _WORDS, "api_base": _WORDS, "api_key": _WORDS, "rpm": _NUMBERS, "weight": _NUMBERS, "order": _NUMBERS}
    | {"timeout": _NUMBERS, "input_cost_per_token": _NUMBERS, "output_cost_per_token": _NUMBERS, "region_name": _WORDS}
    | {"extra_headers": st.dictionaries(_WORDS, _WORDS, max_size=2), "api_version": _WORDS}
)
_ENTRY = st.fixed_dictionaries(
    {"model_name": _WORDS, "litellm_params": _PARAMS},
    optional={"model_info": _shaped({"mode": _WORDS, "access_groups": st.lists(_WORDS, max_size=2)})},
)
_LISTED = st.lists(st.dictionaries(_WORDS, st.lists(_WORDS, max_size=3), max_size=2), max_size=2)
_CONFIGS = _shaped(
    {
        "model_list": st.lists(_ENTRY, max_size=4),
        "router_settings": _shaped(
            {"routing_strategy": _WORDS, "num_retries": _NUMBERS, "fallbacks": _LISTED, "allowed_fails": _NUMBERS}
            | {"model_group_alias": st.dictionaries(_WORDS, _WORDS, max_size=2), "cooldown_time": _NUMBERS}
        ),
        "litellm_settings": _VALUES,
        "general_settings": _VALUES,
    }
)
_PERSON = _shaped(
    {"team_id": _WORDS, "team_alias": _WORDS, "key_alias": _WORDS, "models": st.lists(_WORDS, max_size=3)}
    | {"max_budget": _NUMBERS, "budget_duration": _WORDS, "rpm_limit": _NUMBERS, "token": _WORDS}
    | {"model_rpm_limit": st.dictionaries(_WORDS, _NUMBERS, max_size=2), "blocked": st.booleans()}
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_CONFIGS, st.lists(_PERSON, max_size=4) | _VALUES)
def test_whatever_comes_what_is_written_is_accepted(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, config: object, people: object
) -> None:
    found = from_litellm(json.dumps(config).encode(), "config.yaml", [("keys.json", json.dumps(people).encode())])
    assert bool(found.files) == bool(found.models)
    if found.files:
        in_force(found, tmp_path_factory.mktemp("home"), monkeypatch)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.text("-:{}[]&*!<>|'\"#%@,? \n\tab1.", max_size=60).map(str.encode))
def test_no_bytes_do_more_than_raise_what_a_person_can_read(data: bytes) -> None:
    for config, exports in ((data, []), (b"model_list: []", [("keys.json", data)])):
        with contextlib.suppress(ConfigError):
            from_litellm(config, "config.yaml", exports)
