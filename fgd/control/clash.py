"""Whether packages can lie beside each other as one tree: no path may be a file in two of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

#: Distributions that share a namespace each bring this file for it, mostly the very same one.
_NAMESPACE_FILE: Final = "__init__.py"


@dataclass(frozen=True, slots=True)
class Tree:
    """A package: how messages name it, its digest, and its paths (folders end with a slash)."""

    label: str
    digest: str
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Clash:
    """Two packages and a path that is in both."""

    first: Tree
    second: Tree
    path: str


def find_clash(trees: Sequence[Tree], same: Callable[[Tree, Tree, str], bool]) -> Clash | None:
    """The first clash in the order of the packages, None if there is none.

    Folders merge. What is a file in one package may not be a file or a folder in another one, with one exception: the
    same `__init__.py` in two packages, neither of which is the first, as `same(first, second, path)` says.

    Args:
        trees: the code, then the dependencies.
        same: whether a file is the same in two packages.
    """
    files: dict[str, Tree] = {}
    folders: dict[str, Tree] = {}
    for tree in trees:
        for name in tree.names:
            path = name.removesuffix("/")
            other = files.get(path)
            if name.endswith("/"):
                if other is not None and other is not tree:
                    return Clash(other, tree, path)
                folders.setdefault(path, tree)
                continue
            if other is None:
                other = folders.get(path)
                if other is None:
                    files[path] = tree
                    continue
            elif other is not trees[0] and path.rpartition("/")[2] == _NAMESPACE_FILE and same(other, tree, path):
                continue
            return Clash(other, tree, path)
    return None
