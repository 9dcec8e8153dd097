"""Finds and loads the file of a handler such as `index.handler` or `src/index.handler`.

Theory of operation: the file is looked up by its place beneath the code root, never by name alone, so that a handler
file may be called `json.py`. The code root comes first on `sys.path`, then the folder of the handler's file.

A forked process has many modules of the standard library loaded that the function did not ask for. A file of the
function with the same name must win over them, as it would have in a fresh interpreter started in that folder. So
names found at the top of the code root are taken out of `sys.modules` first, except those that a bare interpreter has
loaded as well. The runtime holds references to the modules it needs.
"""

import os
import sys

from _fgd_runtime.failures import LoadFailure

PY2 = sys.version_info[0] == 2
if PY2:
    import imp
else:
    import importlib.machinery
    import importlib.util

#: Loaded in every interpreter before its first line runs, so a file could never have won over them.
_ALWAYS_LOADED = frozenset(sys.builtin_module_names) | frozenset(
    "__main__ abc codecs copy_reg encodings genericpath importlib io linecache ntpath os posixpath re site "
    "sre_compile sre_constants sre_parse stat sysconfig types UserDict warnings _abcoll _collections_abc "
    "_sitebuiltins _weakrefset zipimport".split()
    if PY2
    else "__main__ abc codecs encodings genericpath io os posixpath site stat _collections_abc _sitebuiltins "
    "zipimport".split()
)
_SUFFIXES = (".py", ".so", ".pyc")


def enter_code_root(code_root, own_folder):
    """Makes the code root the first place to import from and the runtime's own folder none at all."""
    own = os.path.abspath(own_folder)
    sys.path[:] = [code_root] + [
        item for item in sys.path if item and item != code_root and os.path.abspath(item) != own
    ]
    _give_way(code_root)


def _give_way(folder):
    try:
        names = os.listdir(folder)
    except OSError:
        return
    modules = sys.modules
    for name in names:
        stem, dot, suffix = name.partition(".")
        if stem not in modules or stem in _ALWAYS_LOADED or stem == "_fgd_runtime":
            continue
        if dot:
            if not name.endswith(_SUFFIXES):
                continue
        elif not os.path.isfile(os.path.join(folder, name, "__init__.py")):
            continue
        for loaded in [key for key in modules if key == stem or key.startswith(stem + ".")]:
            del modules[loaded]


def split_handler(handler):
    """`src/index.handler` as (["src", "index"], "handler").

    Raises:
        LoadFailure: no file or no function in it.
    """
    path, _, function = handler.rpartition(".")
    parts = [part for part in path.replace(".", "/").split("/") if part]
    if not parts or not function:
        raise LoadFailure("FunctionConfigError", "handler '%s' is not of the form file.function" % handler)
    return parts, function


def load_module(parts, code_root):
    """The module at that place beneath the code root, loaded once.

    Raises:
        LoadFailure: there is no such file.
        BaseException: whatever its code raises.
    """
    folder = os.path.join(code_root, *parts[:-1])
    if len(parts) > 1 and folder not in sys.path:
        sys.path.insert(1, folder)
        _give_way(folder)
    if len(parts) > 1 and all(
        os.path.isfile(os.path.join(code_root, *(parts[:depth] + ["__init__.py"]))) for depth in range(1, len(parts))
    ):
        # a real package: with its full name, so that relative imports work in it
        at = code_root
        for depth in range(1, len(parts) + 1):
            module = _load(".".join(parts[:depth]), parts[depth - 1], at, parts)
            at = os.path.join(at, parts[depth - 1])
        return module
    return _load(parts[-1], parts[-1], folder, parts)


def _load(name, stem, folder, parts):
    module = sys.modules.get(name)
    if module is not None and _lies_in(module, folder):
        return module
    if PY2:
        return _load_2(name, stem, folder, parts)
    spec = importlib.machinery.PathFinder.find_spec(name, [folder])
    if spec is None or spec.loader is None:
        raise _not_found(parts)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    module = sys.modules.get(name, module)
    if "." in name:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, module)
    return module


def _load_2(name, stem, folder, parts):
    try:
        found = imp.find_module(stem, [folder])
    except ImportError:
        raise _not_found(parts)
    try:
        sys.modules.pop(name, None)
        module = imp.load_module(name, *found)
    finally:
        try:
            if found[0] is not None:
                found[0].close()
        except IOError:  # the module's code has closed descriptors
            pass
    if "." in name:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, module)
    return module


def _lies_in(module, folder):
    """Whether a module that is loaded already is the very one of that folder."""
    path = getattr(module, "__file__", None)
    if not path:
        return False
    own = os.path.dirname(os.path.abspath(path))
    return own == folder or (os.path.dirname(own) == folder and os.path.basename(path).startswith("__init__."))


def _not_found(parts):
    return LoadFailure("FunctionLoadError", "not found module './%s.py'" % "/".join(parts))


def entry(module, name, parts, wanted, what="handler"):
    """The function `name` of a module, which must be able to take `wanted` positional arguments.

    `what` is the word by which a failure calls it.

    Raises:
        LoadFailure: it is missing, not callable, or takes another number of arguments.
    """
    function = getattr(module, name, None)
    if function is None:
        raise LoadFailure("FunctionConfigError", "%s '%s' not found in module './%s.py'" % (what, name, "/".join(parts)))
    if not callable(function):
        raise LoadFailure(
            "FunctionConfigError", "%s '%s' in module './%s.py' is not callable" % (what, name, "/".join(parts))
        )
    takes = parameters(function, wanted)
    if takes is not None:
        raise LoadFailure("FunctionLoadError", refusal(wanted, takes))
    return function


def refusal(wanted, takes):
    what = ("heartbeat", "initializer", "handler")[wanted]
    return "%s expect to have %d parameter%s, but received %d" % (what, wanted, "" if wanted == 1 else "s", takes)


def parameters(function, wanted):
    """None if a call with `wanted` arguments can begin, else the number of parameters that it has.

    Looks at plain functions and methods only; other callables are found out by calling them.
    """
    bound = 0
    inner = getattr(function, "__func__", None)
    if inner is not None and getattr(function, "__self__", None) is not None:
        function, bound = inner, 1
    code = getattr(function, "__code__", None)
    if code is None or getattr(function, "__wrapped__", None) is not None:
        return None
    most = code.co_argcount - bound
    least = most - len(getattr(function, "__defaults__", None) or ())
    needed = getattr(code, "co_kwonlyargcount", 0) - len(getattr(function, "__kwdefaults__", None) or ())
    if needed <= 0 and least <= wanted and (most >= wanted or code.co_flags & 0x04):
        return None
    return most
