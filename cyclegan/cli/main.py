"""The `cyclegan` command: `cyclegan COMMAND …`, each command a dataclass in `cyclegan.cli.commands`.

Whatever a user can get wrong ends in one sentence on standard error: exit code 2 for wrong usage, 1 for a
failure, 130 after Ctrl-C. `demo` and `serve` have no other end than that, and once they run it is a 0.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from cyclegan import __version__
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.terminal import clean, hide, log_to_terminal, sentence

logger = logging.getLogger(__name__)

BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell reports it


def _overview(commands: dict[str, type]) -> str:
    width = max(map(len, commands)) + 2
    lines = [
        f"  {name:<{width}}{(command.__doc__ or '').splitlines()[0]}" for name, command in commands.items()
    ]
    return "\n".join(
        [
            "usage: cyclegan COMMAND [options]",
            "",
            "Unpaired image-to-image translation: train on two folders of pictures, use the model.",
            "",
            *lines,
            "",
            "All steps on your own images: cyclegan run --a photos/ --b paintings/ --preset laptop-photos",
            "",
            "`cyclegan COMMAND --help` lists its options. `--preset NAME` takes defaults from a preset,",
            "`--params FILE` from a file such as params.yaml. CYCLEGAN_TRACKING=off runs without MLflow.",
        ]
    )


def _take(flag: str, args: list[str], example: str) -> tuple[str | None, list[str]]:
    """Split `--flag VALUE` off the arguments: it decides the defaults that the parser shows."""
    given = [i for i, arg in enumerate(args) if arg == flag or arg.startswith(f"{flag}=")]
    if not given:
        return None, args
    if len(given) > 1:
        raise UsageError(f"{flag} is given {len(given)} times: pass it once.")
    (i,) = given
    if args[i] != flag:
        return args[i].removeprefix(f"{flag}="), args[:i] + args[i + 1 :]
    if i + 1 == len(args) or args[i + 1].startswith("--"):
        raise UsageError(f"{flag} needs a value, such as {flag} {example}.")
    return args[i + 1], args[:i] + args[i + 2 :]


def _defaults(command: type, preset: str | None, params: Path | None) -> Any:
    """An instance of `command` whose configs come from a preset and from a parameter file, in this order."""
    from cyclegan.cli.commands import SECTIONS
    from cyclegan.cli.params import layers, load_layers

    files = layers(preset, params)
    configs: dict[str, Any] = {}
    for field in fields(command):
        config: Any = field.default_factory
        if config in SECTIONS:
            configs[field.name] = load_layers(files, SECTIONS[config], config)
    return command(**configs)


def parse(name: str, args: Sequence[str]) -> Any:
    """Build the command object of `name` from its arguments; exits with 2 on an unknown or malformed flag."""
    from cyclegan.cli.commands import COMMANDS, FromFile, Run

    command, rest = COMMANDS[name], list(args)
    if not issubclass(command, FromFile):
        return _parse(command, name, rest, None)
    preset, rest = _take("--preset", rest, "laptop")
    file, rest = _take("--params", rest, "params.yaml")
    params = Path(file) if file is not None else None
    if command is Run and preset is None and params is None:
        preset, params = _chosen_for(_parse(command, name, rest, None))
    parsed = _parse(command, name, rest, _defaults(command, preset, params))
    # Not among the defaults: tyro takes equal ones for one, and a preset may be called as the address of its
    # images, which is more than a text.
    return replace(parsed, preset=preset or "", params=params)


def _parse(command: type, name: str, args: Sequence[str], default: Any) -> Any:
    import tyro

    from cyclegan.cli.params import check_numbers

    parsed = tyro.cli(
        command, args=args, default=default, prog=f"cyclegan {name}", description=command.__doc__
    )
    assert is_dataclass(parsed)
    check_numbers(parsed)
    return parsed


def _chosen_for(run: Any) -> tuple[str | None, Path | None]:
    """Preset or parameter file of a `run` that names none: params.yaml, or what fits data and machine."""
    from cyclegan.cli.init import has_gpu

    here = Path("params.yaml")
    if here.is_file():
        logger.info("Parameters from %s.", here)
        return None, here
    if run.fetch.source.startswith("synthetic:") and not (run.a or run.fetch.a):
        preset = "sample"
    else:
        preset = "monet2photo" if has_gpu() else "laptop-photos"
    logger.info("Parameters of the preset '%s'; `cyclegan presets` lists the others.", preset)
    return preset, None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    name = args[0] if args else ""
    hide(args)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where the terminal cannot show a character
    try:
        code = _main(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `cyclegan … | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except CycleGANError as error:
        print(f"cyclegan {name}: {sentence(error).removeprefix(f'{name}: ')}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.strerror is None:
            raise
        where = f" ({clean(str(error.filename))})" if error.filename else ""
        print(f"cyclegan {name}: {error.strerror}{where}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"cyclegan {name}: interrupted.", file=sys.stderr)
        return 130


def _main(args: list[str]) -> int:
    from cyclegan.cli.commands import COMMANDS
    from cyclegan.cli.params import suggestion

    if not args or args[0] in {"-h", "--help", "help"}:
        print(_overview(COMMANDS))
        return 0
    if args[0] in {"-V", "--version"}:
        print(__version__)
        return 0
    if args[0] not in COMMANDS:
        hint = suggestion(args[0], list(COMMANDS), "; `cyclegan --help` lists the commands.")
        print(f"cyclegan: there is no command '{args[0]}'{hint}", file=sys.stderr)
        return 2

    log_to_terminal()
    try:
        command = parse(args[0], args[1:])
    except SystemExit:  # tyro has printed help, or what is wrong
        sys.stdout.flush()
        raise
    command.run()
    return 0
