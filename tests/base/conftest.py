from execution.conftest import home, notebooks, repository

__all__ = ["home", "notebooks", "repository"]
