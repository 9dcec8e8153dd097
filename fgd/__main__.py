"""The command `fgd`: parses the words, loads the one module that the command needs, turns errors into exit codes."""

import os
import sys
from importlib import import_module

from fgd.cli.parser import parse
from fgd.cli.report import EXIT_FUNCTION, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, Refused, Unreachable, UsageError


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit code says how it went (see `fgd.cli.report`)."""
    args = parse(argv)
    module, _, function = args.run.partition(":")
    try:
        code = getattr(import_module(module), function)(args)
        sys.stdout.flush()
        return int(code or 0)
    except UsageError as error:
        return _fail(str(error), EXIT_USAGE)
    except Refused as error:
        return _fail(str(error), EXIT_REFUSED)
    except Unreachable as error:
        return _fail(str(error), EXIT_UNREACHABLE)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter must not complain while it closes it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FUNCTION


def _fail(message: str, code: int) -> int:
    print(f"fgd: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
