from tests.support.engine import engine, real_weights

__all__ = ["engine", "real_weights"]
