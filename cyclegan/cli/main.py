"""The `cyclegan` command: `cyclegan VERB …`, one verb a dataclass in `cyclegan.cli.commands`.

Whatever a user can get wrong ends in one sentence on standard error: exit code 2 for wrong usage, 1 for a
failure, 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from cyclegan import __version__
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.terminal import clean, log_to_terminal


def _overview(verbs: dict[str, type]) -> str:
    width = max(map(len, verbs)) + 2
    lines = [f"  {name:<{width}}{(verb.__doc__ or '').splitlines()[0]}" for name, verb in verbs.items()]
    return "\n".join(
        [
            "usage: cyclegan VERB [options]",
            "",
            "Unpaired image-to-image translation: train on two folders of pictures, use the model.",
            "",
            *lines,
            "",
            "`cyclegan VERB --help` lists a verb's options; `--params FILE` takes defaults from a file,",
            "such as params.yaml or presets/maps.yaml. CYCLEGAN_TRACKING=off runs without MLflow.",
        ]
    )


def _take_params_file(args: list[str]) -> tuple[Path | None, list[str]]:
    """Split `--params FILE` off the arguments: it decides the defaults that the parser shows."""
    for i, arg in enumerate(args):
        if arg == "--params":
            if i + 1 == len(args):
                raise UsageError("--params needs the name of a file, such as params.yaml.")
            return Path(args[i + 1]), args[:i] + args[i + 2 :]
        if arg.startswith("--params="):
            return Path(arg.removeprefix("--params=")), args[:i] + args[i + 1 :]
    return None, args


def _defaults(command: type, params: Path) -> Any:
    """An instance of `command` whose configs come from the sections of a parameter file."""
    from cyclegan.cli.commands import SECTIONS
    from cyclegan.cli.params import load_section

    configs: dict[str, Any] = {}
    for field in fields(command):
        config: Any = field.default_factory
        if config in SECTIONS:
            configs[field.name] = load_section(params, SECTIONS[config], config)
    if not configs:
        raise UsageError("This verb has no section in a parameter file: leave --params out.")
    return command(**configs)


def parse(verb: str, args: Sequence[str]) -> Any:
    """Build the command object of `verb` from its arguments; exits with 2 on an unknown or malformed flag."""
    import tyro

    from cyclegan.cli.commands import COMMANDS

    command = COMMANDS[verb]
    params, rest = _take_params_file(list(args))
    default = _defaults(command, params) if params else None
    parsed = tyro.cli(
        command, args=rest, default=default, prog=f"cyclegan {verb}", description=command.__doc__
    )
    assert is_dataclass(parsed)
    return parsed


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    from cyclegan.cli.commands import COMMANDS

    if not args or args[0] in {"-h", "--help", "help"}:
        print(_overview(COMMANDS))
        return 0
    if args[0] in {"-V", "--version"}:
        print(__version__)
        return 0
    verb = args[0]
    if verb not in COMMANDS:
        from difflib import get_close_matches

        close = get_close_matches(verb, COMMANDS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "`cyclegan --help` lists the verbs."
        print(f"cyclegan: there is no verb '{verb}'; {hint}", file=sys.stderr)
        return 2

    log_to_terminal()
    from tqdm.contrib.logging import logging_redirect_tqdm

    try:
        command = parse(verb, args[1:])
        with logging_redirect_tqdm():
            command.run()
    except CycleGANError as error:
        print(f"cyclegan {verb}: {clean(str(error))}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.strerror is None:
            raise
        where = f" ({clean(str(error.filename))})" if error.filename else ""
        print(f"cyclegan {verb}: {error.strerror}{where}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"cyclegan {verb}: interrupted.", file=sys.stderr)
        return 130
    return 0
