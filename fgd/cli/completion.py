"""`fgd completion`: scripts that complete commands and options, made from the parser itself.

bash: source <(fgd completion bash); zsh: the same after `compinit`; fish: fgd completion fish | source.
"""

import argparse

from fgd.cli.parser import build_parser


def completion(args: argparse.Namespace) -> None:
    """Prints the script."""
    words = command_words(build_parser())
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](words))


def command_words(parser: argparse.ArgumentParser, path: str = "") -> dict[str, list[str]]:
    """What may follow each command path ("" is `fgd` itself): the commands below it, then its options."""
    commands: dict[str, argparse.ArgumentParser] = {}
    options: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands.update(action.choices)
        else:
            options += [text for text in action.option_strings if text.startswith("--")]
            if not action.option_strings and action.choices:
                options += map(str, action.choices)
    words = {path: [*commands, *options]}
    for name, inner in commands.items():
        words |= command_words(inner, f"{path} {name}".strip())
    return words


def _cases(words: dict[str, list[str]]) -> str:
    return "\n".join(f'    "{path}") words="{" ".join(found)}" ;;' for path, found in words.items())


def _bash(words: dict[str, list[str]]) -> str:
    commands = " ".join(sorted({path.rpartition(" ")[2] for path in words if path}))
    return f"""_fgd() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} path="" word words=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case " {commands} " in *" $word "*) path="${{path:+$path }}$word" ;; esac
  done
  case "$path" in
{_cases(words)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _fgd fgd"""


def _zsh(words: dict[str, list[str]]) -> str:
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash(words)


def _fish(words: dict[str, list[str]]) -> str:
    commands = {path for path in words if path}
    lines = ["complete -c fgd -f"]
    for path, found in words.items():
        below = [word for word in found if f"{path} {word}".strip() in commands]
        seen = "; and ".join(f"__fish_seen_subcommand_from {part}" for part in path.split())
        for word in found:
            when = seen
            if word in below:
                none = f"not __fish_seen_subcommand_from {' '.join(below)}"
                when = f"{seen}; and {none}" if seen else none
            condition = f" -n '{when}'" if when else ""
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c fgd{condition} {what}")
    return "\n".join(lines)
