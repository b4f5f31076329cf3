import pytest
from tests.support.doors import MakeServer
from tests.support.server import NO_ENGINE, Server


@pytest.fixture
def make_door(make_server: MakeServer) -> MakeServer:
    """Makes servers without a model of their own, which are stopped after the test."""

    def make(settings: str, **options: object) -> Server:
        made = make_server(NO_ENGINE + settings, **options)
        assert made.key  # issued now: some tests take the database away before they ask
        return made

    return make
