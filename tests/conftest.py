pytest_plugins = ["tests.support.postgres", "tests.support.engine", "tests.support.doors"]
