"""What becomes of a configuration: files for Transom, and what could not be carried."""

from msgspec import Struct, field

from transom.coming_from.reading import Left


class Entry(Struct):
    """One upstream of a model's route, with what LiteLLM says of its share."""

    upstream: str
    model: str
    weight: int | float | None = None
    priority: int | None = None


class Model(Struct):
    """One model: its route, and the other settings of its table."""

    line: int
    kind: str
    route: list[Entry] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)


class Declared(Struct):
    """Everything that goes into `transom.toml`, by its tables."""

    upstreams: dict[str, dict[str, object]] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    """LiteLLM's access groups: models by the name of a group."""
    limits: list[dict[str, object]] = field(default_factory=list)


class Imported(Struct, frozen=True):
    """Files by their path below the folder they go into, and what a person must still do."""

    files: dict[str, str]
    left: tuple[Left, ...]
    environment: tuple[str, ...]
    upstreams: tuple[str, ...]
    models: tuple[str, ...]
    limits: int
    keys: int
