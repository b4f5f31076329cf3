import pytest

from transom.errors import ConfigErrors, InvalidRequest, NotFound
from transom.registry.settings import ModelSettings, RouteTarget
from transom.registry.versions import Registry, build_registry
from transom.values import RequestedModel, UpstreamModel

UPSTREAMS = frozenset({"a", "b"})
ROUTE = ("a", "b")


def build(**models: ModelSettings) -> Registry:
    return build_registry({name.replace("_at_", "@"): settings for name, settings in models.items()}, UPSTREAMS)


def name(text: str) -> RequestedModel:
    return RequestedModel(text)


def test_a_bare_name_is_version_1() -> None:
    registry = build(m=ModelSettings(ROUTE))
    version = registry.resolve(name("m"))
    assert version is registry.resolve(name("m@1"))
    assert version.name == "m@1"
    assert [target.model for target in version.route] == ["m", "m"]


def test_the_version_in_service_answers_for_the_bare_name() -> None:
    registry = build(
        m_at_1=ModelSettings(ROUTE), m_at_2=ModelSettings(ROUTE, in_service=True), m_at_3=ModelSettings(ROUTE)
    )
    assert registry.resolve(name("m")).name == "m@2"
    assert [registry.resolve(name(f"m@{number}")).name for number in (1, 2, 3)] == ["m@1", "m@2", "m@3"]
    assert registry.names == {"m@1", "m@2", "m@3"}


@pytest.mark.parametrize("text", ["", "x", "m@", "m@9", "M", "@1", "m@1@1", " m"])
def test_what_is_not_there_is_openais_model_not_found(text: str) -> None:
    registry = build(m=ModelSettings(ROUTE))
    assert registry.find(name(text)) is None
    with pytest.raises(NotFound) as raised:
        registry.resolve(name(text))
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_kinds() -> None:
    registry = build(m=ModelSettings(ROUTE, kind="embedding"))
    assert registry.resolve_for(name("m"), "embedding").kind == "embedding"
    with pytest.raises(InvalidRequest, match="kind embedding"):
        registry.resolve_for(name("m"), "chat")


@pytest.mark.parametrize(
    ("weights", "openness", "is_open"),
    [
        (None, "unknown", False),
        ("none", "api-only", False),
        ("restricted", "restricted-weights", False),
        ("open", "open-weights", True),
    ],
)
def test_openness_follows_from_the_weights(weights: None, openness: str, *, is_open: bool) -> None:
    version = build(m=ModelSettings(ROUTE, weights=weights)).resolve(name("m"))
    assert (version.openness, version.resource.attributes["open"]) == (openness, is_open)
    assert "licence" not in version.resource.attributes


def test_the_digest_changes_with_every_declaration() -> None:
    settings = [
        ModelSettings(ROUTE),
        ModelSettings(("a",)),
        ModelSettings(("b", "a")),
        ModelSettings((RouteTarget("a", "x"), "b")),
        ModelSettings(ROUTE, rung="internal"),
        ModelSettings(ROUTE, weights="open"),
        ModelSettings(ROUTE, licence="MIT"),
        ModelSettings(ROUTE, description="d"),
    ]
    registries = [build_registry({"m": each, "n": ModelSettings(ROUTE)}, UPSTREAMS) for each in settings]
    assert len({registry.digest for registry in registries}) == len(settings)
    assert len({registry.resolve(name("m")).resource.digest for registry in registries}) == len(settings)
    assert len({registry.resolve(name("n")).digest for registry in registries}) == 1


def test_a_route_may_rename() -> None:
    version = build(m=ModelSettings((RouteTarget("a", "vendor/x"), "b"))).resolve(name("m"))
    assert [(target.upstream, target.model) for target in version.route] == [
        ("a", UpstreamModel("vendor/x")),
        ("b", UpstreamModel("m")),
    ]


@pytest.mark.parametrize(
    ("models", "place", "what"),
    [
        ({"m": ModelSettings(("a", "b", "c"))}, "models.m.route", "'c', which is not declared"),
        ({"m": ModelSettings(())}, "models.m.route", "empty"),
        ({"m": ModelSettings(("a",))}, "upstreams.b", "No model's route"),
        ({"m": ModelSettings(("a", "b", "a"))}, "models.m.route.2", "each once"),
        ({"m@2": ModelSettings(("a", "b", RouteTarget("b", "m")))}, "models.m@2.route.2", "each once"),
        ({"m@": ModelSettings(ROUTE)}, "models.m@", "not a model's name"),
        ({"m x": ModelSettings(ROUTE)}, "models.m x", "not a model's name"),
        ({"@1": ModelSettings(ROUTE)}, "models.@1", "not a model's name"),
        ({"m@1": ModelSettings(ROUTE), "m@2": ModelSettings(ROUTE)}, "models.m@1", "in_service"),
        (
            {"m@1": ModelSettings(ROUTE, in_service=True), "m@2": ModelSettings(ROUTE, in_service=True)},
            "models.m@1",
            "exactly one",
        ),
    ],
)
def test_what_cannot_be_is_said_with_its_place(models: dict[str, ModelSettings], place: str, what: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        build_registry(models, UPSTREAMS)
    assert [problem for problem in raised.value.problems if problem.file == place and what in problem.what]


def test_one_upstream_may_be_asked_for_two_models() -> None:
    version = build(m=ModelSettings((RouteTarget("a", "large"), "b", RouteTarget("a", "small")))).resolve(name("m"))
    assert [target.model for target in version.route if target.upstream == "a"] == ["large", "small"]


def test_one_version_declared_twice_is_refused() -> None:
    with pytest.raises(ConfigErrors, match="declared twice"):
        build_registry({"m": ModelSettings(ROUTE), "m@1": ModelSettings(ROUTE, in_service=True)}, UPSTREAMS)
