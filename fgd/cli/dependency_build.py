"""`fgd dependency build`: pip or npm installs packages into a temporary folder, which becomes a ZIP.

They run as the user who called the command and never in the daemon. By default nothing that a package brings is run:
pip takes wheels only, npm runs no scripts. The same packages give the same bytes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fgd.cli.archive import pack
from fgd.cli.client import Client
from fgd.cli.report import UsageError, note

#: Settings of the caller's that would send pip's work elsewhere.
_NOT_INHERITED = ("PYTHONHOME", "PYTHONPATH", "PIP_PREFIX", "PIP_ROOT", "PIP_TARGET", "PIP_USER", "VIRTUAL_ENV")
#: Where functions see their code: `fgd.sandbox.plan.CODE_ROOT`, which is too much to import here.
CODE_ROOT = "/opt/function/code"
#: Earlier ones cannot name files in bytecode otherwise than they are named here.
COMPILE_FROM = (3, 9)
#: What npm leaves for itself: two dependencies of one function would both have it.
_NPM_OWN = (".bin", ".package-lock.json")


def build_archive(args: argparse.Namespace, client: Client | None) -> bytes:
    """The ZIP of what `args` ask for. Progress goes to standard error.

    Args:
        client: is asked where the runtime's interpreter is; None: it is looked for here.

    Raises:
        UsageError: options that do not go together, no interpreter, or the tool failed.
    """
    python = args.runtime.startswith("Python")
    if not python and not args.runtime.startswith("Node.js"):
        raise UsageError(f"--runtime {args.runtime}: only packages of Python and Node.js can be built; upload a ZIP")
    file = args.requirements if python else args.package_json
    if (args.requirements and not python) or (args.package_json and python):
        raise UsageError("-r is for Python and --package-json for Node.js")
    if args.allow_source and not python:
        raise UsageError("--allow-source: is for Python; npm runs no scripts of packages")
    if file is None and not args.packages:
        raise UsageError(f"name what to install: {'-r FILE' if python else '--package-json FILE'} or -p PACKAGE")
    if file is not None and not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    if args.compile and not (python and _minor(args.runtime) >= COMPILE_FROM):
        raise UsageError("--compile: is for Python3.9 and later")
    bad = [one for one in args.packages if one.startswith("-")]
    if bad:
        raise UsageError(f"-p {bad[0]}: must be a package, not an option")
    with tempfile.TemporaryDirectory(prefix="fgd-build-") as folder:
        work = Path(folder)
        if python:
            return _pip(args, _interpreter(args.runtime, client), work / "packages")
        return _npm(args, work)


def _minor(runtime: str) -> tuple[int, ...]:
    return tuple(int(part) for part in runtime.removeprefix("Python").split(".") if part.isdigit())


def _interpreter(runtime: str, client: Client | None) -> str:
    if client is not None:
        found = {name: str(one["interpreter"]) for name, one in _runtimes(client).items()}
    else:
        from fgd.runtime import discover

        found = {install.id: str(install.executable) for install in discover()}
    if runtime not in found:
        raise UsageError(f"--runtime {runtime}: is not on this node, which has {', '.join(sorted(found))}")
    return found[runtime]


def _runtimes(client: Client) -> dict[str, dict[str, object]]:
    runtimes: dict[str, dict[str, object]] = client.call("GET", "/fgd/v1/runtimes")["runtimes"]
    return runtimes


def _pip(args: argparse.Namespace, interpreter: str, target: Path) -> bytes:
    pip = [interpreter, "-E", "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        raise UsageError(
            f"--runtime {args.runtime}: {interpreter} has no pip; {interpreter} -m ensurepip, or a package"
        )
    command = [*pip, "install", "--disable-pip-version-check", "--no-compile", "--target", str(target)]
    if not args.allow_source:
        command += ["--only-binary", ":all:"]
    elif os.geteuid() == 0:
        note("--allow-source: programs of the packages are run as root; better build as another user, with --output")
    if args.requirements:
        command += ["-r", str(args.requirements)]
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    hint = "" if args.allow_source else "; only wheels are taken, others need --allow-source"
    _run([*command, *args.packages], None, environ | {"PIP_USER": "0", "PIP_NO_INPUT": "1"}, "pip", hint)
    if not target.is_dir():
        raise UsageError("pip installed nothing")
    if args.compile:
        _compile(interpreter, target, environ)
    return pack(target, bytecode=args.compile)


def _compile(interpreter: str, target: Path, environ: dict[str, str]) -> None:
    """Adds bytecode that is taken as it is: what fgd unpacks has times of its own. Names in it are those inside."""
    command = [interpreter, "-E", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    paths = ["-s", str(target), "-p", CODE_ROOT, str(target)]
    if subprocess.run([*command, *paths], env=environ, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode:
        note("--compile: what cannot be compiled is left as it is")


def _npm(args: argparse.Namespace, work: Path) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise UsageError("npm is not on this host; install it, or upload a ZIP made elsewhere")
    if args.package_json:
        shutil.copyfile(args.package_json, work / "package.json")
        lock = args.package_json.with_name("package-lock.json")
        if lock.is_file():
            shutil.copyfile(lock, work / "package-lock.json")
    else:
        (work / "package.json").write_text("{}\n", "utf-8")
    command = [npm, "install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    _run([*command, *args.packages], work, dict(os.environ), "npm", "")
    modules = work / "node_modules"
    if not modules.is_dir():
        raise UsageError("npm installed nothing")
    for name in _NPM_OWN:
        path = modules / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for file in (work / "package.json", work / "package-lock.json"):
        file.unlink(missing_ok=True)
    return pack(work)


def _run(command: Sequence[str], folder: Path | None, environ: dict[str, str], tool: str, hint: str) -> None:
    sys.stderr.flush()
    done = subprocess.run(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=2, check=False)
    if done.returncode:
        raise UsageError(f"{tool} ended with status {done.returncode}, its messages are above{hint}")
