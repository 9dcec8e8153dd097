"""Imports a module that a dependency brings."""

import importlib


def handler(event: object, context: object) -> dict[str, str]:
    return {"word": importlib.import_module("library").WORD}
