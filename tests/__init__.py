"""The tests; a package, so that `tests.shape_check` can be named in pyproject.toml."""
