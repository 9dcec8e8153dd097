"""Languages that fgd can run, and the interpreters for them on this host.

Theory of operation: each folder of `runtimes/` has a `runtime.toml`. Candidates for an interpreter are looked for by
name, in PATH, in the usual folders and where pyenv and uv keep theirs; links are followed, so a virtual environment
leads to the interpreter it was made from, and scripts (pyenv's shims) are passed over. Each candidate is run once and
tells what it is; that is remembered in a cache file by path, time and size, so that later starts run nothing. Of
several builds of a version the newest patch wins.

Whoever runs this may run every interpreter it finds: it belongs into a start as root only if root's PATH is trusted.
"""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: The folder `runtimes/` of this installation.
RUNTIMES_DIR: Final = Path(__file__).resolve().parent.parent / "runtimes"

#: Runtime ids of FunctionGraph (rest-api 1.6), spelled exactly so.
CLOUD_IDS: Final = (
    "Java8", "Java11", "Java17", "Java21", "Python2.7", "Python3.6", "Python3.9", "Python3.10", "Python3.12", "Go1.8",
    "Go1.x", "Node.js6.10", "Node.js8.10", "Node.js10.16", "Node.js12.13", "Node.js14.18", "Node.js16.17",
    "Node.js18.15", "Node.js20.15", "C#(.NET Core 2.0)", "C#(.NET Core 2.1)", "C#(.NET Core 3.1)", "C#(.NET Core 6.0)",
    "Custom", "PHP7.3", "PHP8.3", "Cangjie1.0", "http", "Custom Image",
)  # fmt: skip

_USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin")
_PROBE_TIMEOUT_S = 10.0
#: Runs on Python 2.7 and later. `-S` skips `site`, so `base_prefix` is what counts inside a virtual environment.
_PROBE = """
import json, sys, sysconfig
def has(name):
    try:
        __import__(name)
        return True
    except ImportError:
        return False
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "level": sys.version_info[3],
    "implementation": getattr(getattr(sys, "implementation", None), "name", "cpython"),
    "prefix": getattr(sys, "base_prefix", getattr(sys, "real_prefix", sys.prefix)),
    "shared": bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
    "ctypes": has("_ctypes"),
    "ssl": has("_ssl"),
}))
"""


@dataclass(frozen=True, slots=True)
class RuntimeInstall:
    """A runtime that functions can use here: the language's files and an interpreter."""

    #: As the API spells it: "Python3.12".
    id: str
    language: str
    #: Full version of the interpreter: "3.12.1".
    version: str
    #: Real path of the interpreter on the host, beneath `prefix`.
    executable: Path
    #: Folder on the host that is mounted at `inside_prefix`.
    prefix: Path
    inside_prefix: str
    inside_executable: str
    #: Folder inside that LD_LIBRARY_PATH must name for the interpreter to start; "" when it needs none.
    library_path: str
    #: Folder on the host with the language's part that runs inside, and the program to start in it.
    runtime_dir: Path
    entry: str
    #: Whether instances may be forked from a warm interpreter.
    forks: bool
    #: Whether the interpreter has TLS.
    ssl: bool
    default_handler: str
    default_timeout_s: int
    default_memory_mib: int


@dataclass(frozen=True, slots=True)
class Language:
    """One `runtime.toml`."""

    name: str
    folder: Path
    entry: str
    forks: bool
    default_handler: str
    default_timeout_s: int
    default_memory_mib: int
    exact: tuple[tuple[int, ...], ...]
    first: tuple[int, ...]
    pattern: re.Pattern[str]
    inside_prefix: str
    install_hint: str

    def covers(self, version: tuple[int, ...]) -> bool:
        """Whether (major, minor) is a version that the files of this language run on."""
        return version in self.exact or version >= self.first


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What one interpreter said of itself."""

    executable: Path
    prefix: Path
    version: tuple[int, int, int]
    level: str
    shared: bool
    ctypes: bool
    ssl: bool

    @property
    def rank(self) -> tuple[bool, bool, tuple[int, int, int], str, str]:
        """Higher is better: it can fork, it has TLS, newest patch, final before candidate."""
        return self.ctypes, self.ssl, self.version, self.level, str(self.executable)


class RuntimeFilesError(Exception):
    """A `runtime.toml` cannot be read; the message names it and the reason."""


def load_languages(folder: Path = RUNTIMES_DIR) -> list[Language]:
    """All languages in a folder such as `runtimes/`.

    Raises:
        RuntimeFilesError: a file is broken.
    """
    languages = []
    for path in sorted(folder.glob("*/runtime.toml")):
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
            versions, interpreter = values["versions"], values["interpreter"]
            languages.append(
                Language(
                    name=values["language"],
                    folder=path.parent,
                    entry=values["entry"],
                    forks=values["forks"],
                    default_handler=values["default_handler"],
                    default_timeout_s=values["default_timeout_s"],
                    default_memory_mib=values["default_memory_mib"],
                    exact=tuple(_numbers(text) for text in versions["exact"]),
                    first=_numbers(versions["from"]),
                    pattern=re.compile(interpreter["pattern"]),
                    inside_prefix=interpreter["inside_prefix"],
                    install_hint=interpreter["install_hint"],
                )
            )
        except (OSError, ValueError, KeyError, TypeError, re.error) as error:
            raise RuntimeFilesError(f"{path}: {error!r}") from error
    return languages


def discover(
    *, environ: Mapping[str, str] | None = None, cache: Path | None = None, runtimes_dir: Path = RUNTIMES_DIR
) -> list[RuntimeInstall]:
    """The runtimes that can be used on this host, ordered by language and version.

    `environ` says where to look (PATH, HOME, PYENV_ROOT, UV_PYTHON_INSTALL_DIR); default: the process's own.
    `cache` is a file that may not exist yet; one that cannot be used or written is passed over.

    Raises:
        RuntimeFilesError: a `runtime.toml` is broken.
    """
    environ = os.environ if environ is None else environ
    known = _read_cache(cache)
    seen: dict[str, Any] = {}
    installs = []
    for language in load_languages(runtimes_dir):
        best: dict[tuple[int, ...], Interpreter] = {}
        for path in _candidates(environ, language.pattern):
            found = _interpreter(path, known, seen)
            if found is None or not language.covers(found.version[:2]):
                continue
            rival = best.get(found.version[:2])
            if rival is None or found.rank > rival.rank:
                best[found.version[:2]] = found
        installs += [_install(language, best[version]) for version in sorted(best)]
    if cache is not None and seen != known:
        _write_cache(cache, seen)
    return installs


def defaults_for(runtime_id: str, runtimes_dir: Path = RUNTIMES_DIR) -> tuple[str, int, int] | None:
    """Handler, timeout (s) and memory (MiB) of a new function; None for a language that has no files here."""
    language = _language_of(runtime_id, runtimes_dir)
    if language is None:
        return None
    return language.default_handler, language.default_timeout_s, language.default_memory_mib


def how_to_get(runtime_id: str, runtimes_dir: Path = RUNTIMES_DIR) -> str | None:
    """What to do when no interpreter for a runtime id was found; None when there is no such runtime id."""
    language = _language_of(runtime_id, runtimes_dir)
    if language is not None:
        return language.install_hint.format(version=runtime_id.removeprefix(language.name))
    if runtime_id in CLOUD_IDS:
        return "this version of fgd does not run functions of this language"
    return None


def _language_of(runtime_id: str, runtimes_dir: Path) -> Language | None:
    for language in load_languages(runtimes_dir):
        match = re.fullmatch(re.escape(language.name) + r"(\d+\.\d+)", runtime_id)
        if match and language.covers(_numbers(match[1])):
            return language
    return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _install(language: Language, found: Interpreter) -> RuntimeInstall:
    short = ".".join(map(str, found.version[:2]))
    inside_prefix = language.inside_prefix.format(version=short)
    return RuntimeInstall(
        id=language.name + short,
        language=language.name,
        version=".".join(map(str, found.version)),
        executable=found.executable,
        prefix=found.prefix,
        inside_prefix=inside_prefix,
        inside_executable=f"{inside_prefix}/{found.executable.relative_to(found.prefix)}",
        library_path=f"{inside_prefix}/lib" if found.shared and found.prefix != Path("/usr") else "",
        runtime_dir=language.folder,
        entry=language.entry,
        forks=language.forks and found.ctypes,  # the zygote makes its system calls through ctypes
        ssl=found.ssl,
        default_handler=language.default_handler,
        default_timeout_s=language.default_timeout_s,
        default_memory_mib=language.default_memory_mib,
    )


def _candidates(environ: Mapping[str, str], pattern: re.Pattern[str]) -> Iterator[Path]:
    """Programs by name, each real path once."""
    folders = [Path(item) for item in environ.get("PATH", "").split(":") if item.startswith("/")]
    folders += [Path(item) for item in _USUAL_FOLDERS]
    homes = [Path(item) for item in dict.fromkeys((environ.get("HOME", ""), "/root")) if item]
    for root in (Path(environ.get("PYENV_ROOT") or "/opt/pyenv"), Path("/opt/pyenv"), *(h / ".pyenv" for h in homes)):
        folders += _list(root / "versions", "bin")
    uv_default = [home / ".local/share/uv/python" for home in homes]
    for root in (Path(environ.get("UV_PYTHON_INSTALL_DIR") or "/opt/uv/python"), *uv_default):
        folders += _list(root, "bin")
    seen = set()
    for folder in dict.fromkeys(folders):
        for path in _list(folder):
            if pattern.match(path.name):
                real = Path(os.path.realpath(path))
                if real not in seen:
                    seen.add(real)
                    yield real


def _list(folder: Path, below: str = "") -> list[Path]:
    try:
        return sorted(item / below for item in folder.iterdir())
    except OSError:  # not there, or not ours to read
        return []


def _interpreter(path: Path, known: dict[str, Any], seen: dict[str, Any]) -> Interpreter | None:
    """What a candidate is, by the cache or by running it; None for what is no CPython."""
    try:
        status = path.stat()
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":  # a script, such as a shim of pyenv
                return None
    except OSError:
        return None
    stamp = [status.st_mtime_ns, status.st_size]
    record = known.get(str(path))
    if not (isinstance(record, dict) and record.get("stamp") == stamp):
        record = {"stamp": stamp, "facts": _probe(path)}
    seen[str(path)] = record
    facts: Any = record.get("facts")
    try:
        major, minor, patch = facts["version"]
        prefix = Path(os.path.realpath(facts["prefix"]))
        if facts["implementation"] != "cpython":
            return None
        executable = path
        if not path.is_relative_to(prefix):  # a copy inside a virtual environment
            executable = Path(os.path.realpath(prefix / "bin" / f"python{major}.{minor}"))
            if not executable.is_relative_to(prefix) or not executable.exists():
                return None
        return Interpreter(
            executable, prefix, (major, minor, patch), facts["level"], facts["shared"], facts["ctypes"], facts["ssl"]
        )
    except (KeyError, TypeError, ValueError):  # the program did not answer as an interpreter does
        return None


def _probe(path: Path) -> object:
    """Runs an interpreter; gives what it printed, None when it did not work."""
    environ = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "LD_LIBRARY_PATH": str(path.parent.parent / "lib")}
    try:
        done = subprocess.run(
            [path, "-E", "-s", "-S", "-B", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            env=environ,
            cwd="/",
            check=True,
        )
        result: object = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return result


def _read_cache(cache: Path | None) -> dict[str, Any]:
    """What an earlier start wrote; nothing when somebody else could have written it, for it names what root binds."""
    values: Any = {}
    try:
        if cache is not None:
            with cache.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022:
                    values = json.loads(file.read())
    except (OSError, ValueError):
        values = {}
    return values if isinstance(values, dict) else {}


def _write_cache(cache: Path, values: dict[str, Any]) -> None:
    fresh = cache.with_name(cache.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(values))
        fresh.replace(cache)
    except OSError:  # the next start probes again
        fresh.unlink(missing_ok=True)
