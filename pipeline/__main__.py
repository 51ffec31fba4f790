"""`python -m pipeline compile | run | submit`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError, UsageError

NAMES = ("cyclegan", "sweep", "translate")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="The Kubeflow pipelines.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="compile | run | submit")

    compiling = verbs.add_parser("compile", help="write the YAML files of the pipelines")
    compiling.add_argument("--check", action="store_true", help="fail if a committed file is stale")
    compiling.add_argument("--static", action="store_true", help="for backends before 2.14; needs --out")
    compiling.add_argument("--out", type=Path, help="another folder to write to")

    running = verbs.add_parser("run", help="run the compiled pipeline on this machine")
    submitting = verbs.add_parser("submit", help="send the compiled pipeline to a cluster (KFP_ENDPOINT)")
    for verb in (running, submitting):
        verb.add_argument("words", nargs="*", metavar="name=value", help="parameters, such as epochs=1")
        verb.add_argument("--pipeline", choices=NAMES, default="cyclegan", help="default: cyclegan")
        verb.add_argument("--file", type=Path, help="another compiled file")
        verb.add_argument("--params", type=Path, help="take values from a file such as params.yaml")
        verb.add_argument("--list", action="store_true", help="list the parameters and their defaults")
    running.add_argument("--image", default="", help="run each task in a container of this image")
    submitting.add_argument("--experiment", default="cyclegan", help="KFP experiment (default: cyclegan)")
    submitting.add_argument("--name", help="name of the run")
    submitting.add_argument("--image", default="", help="image for every task instead of the compiled one")
    submitting.add_argument("--service-account", default="", help="of the pods, such as cyclegan-steps")
    submitting.add_argument("--no-cache", action="store_true", help="run every task anew")
    return parser


def _compile(options: argparse.Namespace) -> None:
    from pipeline.compiling import FOLDER, compile_all, stale

    if options.check:
        if files := stale():
            names = ", ".join(file.name for file in files)
            raise CycleGANError(f"{names} differ from what the code compiles to: run `make compile`.")
        return
    if options.static and not options.out:
        raise UsageError("--static needs --out: the committed files are for present backends.")
    folder = options.out or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for file in compile_all(folder, static=options.static):
        print(file)


def _arguments(options: argparse.Namespace, spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Arguments by rising precedence: `given`, a preset, the words of the command line."""
    from pipeline.arguments import check_complete, parse

    arguments = dict(given)
    if options.params:
        from pipeline.compiling import parameters
        from pipeline.defaults import read_defaults

        arguments |= parameters(options.pipeline, read_defaults(options.params))
    named = parse(spec, options.words)
    if "source" in named and "version" not in named:
        named["version"] = ""  # the default is the sample's, or the tracked data's
    arguments |= named
    check_complete(spec, arguments)
    return arguments


def _list(spec: dict[str, Any]) -> None:
    for name, facts in spec["root"]["inputDefinitions"]["parameters"].items():
        print(f"{name}={facts.get('defaultValue', '')}\n    {facts.get('description', '')}")


def _run(options: argparse.Namespace) -> None:
    from pipeline.arguments import load_spec
    from pipeline.compiling import FOLDER
    from pipeline.local import run, summary

    file = options.file or FOLDER / f"{options.pipeline}.yaml"
    spec = load_spec(file)
    if options.list:
        return _list(spec)
    folder = run(file, _arguments(options, spec, {}), image=options.image)
    print("\n".join(summary(folder)))
    return None


def _submit(options: argparse.Namespace) -> None:
    from pipeline.arguments import load_spec
    from pipeline.compiling import FOLDER
    from pipeline.submitting import check_version, from_storage, submit

    file = options.file or FOLDER / f"{options.pipeline}.yaml"
    spec = load_spec(file)
    if options.list:
        return _list(spec)
    known = spec["root"]["inputDefinitions"]["parameters"]
    given = {name: value for name, value in from_storage().items() if name in known}
    arguments = _arguments(options, spec, given)
    if not options.no_cache:
        check_version(arguments)
    run_id = submit(
        file,
        arguments,
        experiment=options.experiment,
        run_name=options.name,
        image=options.image,
        caching=not options.no_cache,
        service_account=options.service_account,
    )
    print(f"run {run_id}")
    if endpoint := os.environ.get("KFP_ENDPOINT"):
        print(f"{endpoint.rstrip('/')}/#/runs/details/{run_id}")
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        {"compile": _compile, "run": _run, "submit": _submit}[options.verb](options)
    except CycleGANError as error:
        print(f"pipeline {options.verb}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
