"""`python -m pipeline compile | run | upload | submit`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError, UsageError

NAMES = ("cyclegan", "sweep", "translate")
NAMING = (("preprocess_options", "names"), ("register_name", ""), ("evaluate_options", "champion"))
"""Parameters, and fields in them, that say what the images are called."""


def _parser() -> argparse.ArgumentParser:
    from pipeline.compiled.backends import VERSIONS

    parser = argparse.ArgumentParser(prog="python -m pipeline", description="The Kubeflow pipelines.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="compile | run | upload | submit")

    compiling = commands.add_parser("compile", help="write the YAML files of the pipelines")
    compiling.add_argument("--check", action="store_true", help="fail if a committed file is stale")
    compiling.add_argument(
        "--backend",
        default=VERSIONS[-1],
        help=f"version of Kubeflow Pipelines, from {VERSIONS[0]}; needs --out",
    )
    compiling.add_argument("--out", type=Path, help="another folder to write to")

    running = commands.add_parser("run", help="run the compiled pipeline on this machine")
    uploading = commands.add_parser(
        "upload", help="register the compiled pipeline with a cluster (KFP_ENDPOINT)"
    )
    submitting = commands.add_parser("submit", help="run the compiled pipeline on a cluster (KFP_ENDPOINT)")
    for command in (running, uploading, submitting):
        command.add_argument("--pipeline", choices=NAMES, default="cyclegan", help="default: cyclegan")
        command.add_argument("--file", type=Path, help="another compiled file")
    for command in (running, submitting):
        command.add_argument(
            "words", nargs="*", metavar="name=value", help="parameters, such as train_epochs=1"
        )
        command.add_argument("--params", type=Path, help="take values from a file such as params.yaml")
        command.add_argument("--list", action="store_true", help="list the parameters and their defaults")
    running.add_argument("--image", default="", help="run each task in a container of this image")
    for command in (uploading, submitting):
        command.add_argument("--image", default="", help="image for every task instead of the compiled one")
        command.add_argument("--namespace", default="", help="of the runs, where several users share KFP")
        command.add_argument(
            "--token", default="", help="bearer token (KFP_EXISTING_TOKEN keeps it off the screen)"
        )
        command.add_argument("--backend", default="", help="version of the server, if it does not say")
    submitting.add_argument("--experiment", default="cyclegan", help="KFP experiment (default: cyclegan)")
    submitting.add_argument(
        "--name", default="", help="name of the run (default: generator, dataset, size, epochs and seed)"
    )
    submitting.add_argument("--service-account", default="", help="of the pods, such as cyclegan-steps")
    submitting.add_argument("--no-cache", action="store_true", help="answer no task from the cache")
    submitting.add_argument(
        "--wait",
        action="store_true",
        help="follow the run to its end; exit 1 if it fails, 3 if the server is lost from sight before",
    )
    submitting.add_argument("--schedule", metavar="CRON", default="", help="run repeatedly, as '0 3 * * *'")
    return parser


def _compile(options: argparse.Namespace) -> None:
    from pipeline.compiled.backends import FEATURES, VERSIONS, parse_version
    from pipeline.compiled.compiling import FOLDER, compile_all, stale

    if options.check:
        if files := stale():
            names = ", ".join(file.name for file in files)
            raise CycleGANError(f"{names} differ from what the code compiles to: run `make compile`.")
        return
    backend = parse_version(options.backend)
    if backend != VERSIONS[-1] and not options.out:
        raise UsageError(f"--backend {backend} needs --out: the committed files are for {VERSIONS[-1]}.")
    folder = options.out or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for file in compile_all(folder, backend=backend):
        print(file)
    for feature in FEATURES:
        if VERSIONS.index(feature.since) > VERSIONS.index(backend):
            print(f"For a backend of {backend} left out: {feature.lost}.", file=sys.stderr)


def _arguments(options: argparse.Namespace, spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """All arguments: defaults and, by rising precedence, `given`, a preset, the words of the command line.

    A word such as `train_options={"precision": "bf16"}` sets the fields that it names and keeps the others.
    """
    from pipeline.arguments import complete, defaults_of, inputs_of, parse

    arguments = dict(given)
    if options.params:
        from pipeline.defaults import read_defaults
        from pipeline.parameters import TABLES, chosen

        table = TABLES.get(spec["pipelineInfo"]["name"])
        if table is None:
            raise UsageError(f"--params sets parameters of {', '.join(TABLES)}: use name=value for others.")
        chosen_ones = chosen(table, read_defaults(options.params))
        arguments |= {name: value for name, value in chosen_ones.items() if name in inputs_of(spec)}
    named = parse(spec, options.words)
    others = "data_source" in named or "a" in named.get("data_options", {})
    if others and "data_version" not in named:
        named["data_version"] = ""  # the default is the sample's, or the tracked data's
    before = defaults_of(spec) | arguments
    for name in named:
        if name.endswith("_options"):
            named[name] = before.get(name, {}) | named[name]
    values = complete(spec, arguments | named)
    if others and not options.params:
        _point_out_names(before, values)
    return values


def _point_out_names(before: dict[str, Any], values: dict[str, Any]) -> None:
    """Say on stderr what other images would be called, registered as and compared with."""
    kept = []
    for name, field in NAMING:
        old, new = (found.get(name, {} if field else "") for found in (before, values))
        if field:
            old, new = ({field: found[field]} if found.get(field) else {} for found in (old, new))
        if new and new == old:
            kept.append(f"{name}={json.dumps(new) if field else new}")
    if kept:
        print(f"With other images the run still has {', '.join(kept)}: set what differs.", file=sys.stderr)


def _list(spec: dict[str, Any]) -> None:
    from pipeline.arguments import defaults_of, inputs_of

    defaults = defaults_of(spec)
    for name, facts in inputs_of(spec).items():
        value = defaults.get(name, "")
        print(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
        print(f"    {facts.get('description', '')}")


def _run(options: argparse.Namespace) -> None:
    from pipeline.arguments import load_spec
    from pipeline.local import run, summary

    file = _file(options)
    spec = load_spec(file)
    if options.list:
        return _list(spec)
    folder = run(file, _arguments(options, spec, {}), image=options.image)
    print("\n".join(summary(folder)))
    return None


def _file(options: argparse.Namespace) -> Path:
    from pipeline.compiled.compiling import FOLDER

    return options.file or FOLDER / f"{options.pipeline}.yaml"


def _upload(options: argparse.Namespace) -> None:
    from pipeline.client.server import Login, Server
    from pipeline.client.submitting import Sending, upload

    sending = Sending(file=_file(options), image=options.image, backend=_backend(options))
    server = Server(Login.of(namespace=options.namespace, token=options.token))
    version, remarks = upload(server, sending)
    for remark in remarks:
        print(remark, file=sys.stderr)
    print(f"pipeline {version.pipeline_id} version {version.pipeline_version_id} ({version.display_name})")


def _backend(options: argparse.Namespace) -> str:
    from pipeline.compiled.backends import parse_version

    return parse_version(options.backend) if options.backend else ""


def _submit(options: argparse.Namespace) -> None:
    from pipeline.arguments import inputs_of, load_spec
    from pipeline.client.server import Login, Server
    from pipeline.client.submitting import (
        Sending,
        from_storage,
        refuse_secrets,
        run_name,
        run_url,
        schedule,
        starts_anywhere,
        submit,
        with_seconds,
    )

    spec = load_spec(_file(options))
    if options.list:
        return _list(spec)
    if options.schedule and options.wait:
        raise UsageError("--wait follows one run, and --schedule makes many: choose one of them.")
    if options.schedule:
        with_seconds(options.schedule)
    given = {name: value for name, value in from_storage().items() if name in inputs_of(spec)}
    arguments = _arguments(options, spec, given)
    refuse_secrets(arguments)
    sending = Sending(
        file=_file(options),
        image=options.image,
        caching=not options.no_cache,
        backend=_backend(options),
        experiment=options.experiment,
        run_name=options.name or run_name(arguments, options.pipeline),
        service_account=options.service_account,
        fresh=["train"] if starts_anywhere(arguments) else [],
    )
    server = Server(Login.of(namespace=options.namespace, token=options.token))
    if options.schedule:
        recurring_id, remarks = schedule(server, sending, arguments, options.schedule)
    else:
        run, remarks = submit(server, sending, arguments)
    for remark in remarks:
        print(remark, file=sys.stderr)
    if options.schedule:
        print(f"recurring run {recurring_id}")
        if server.login.endpoint:
            print(f"{server.login.endpoint}/#/recurringrun/details/{recurring_id}")
        return None
    print("\n".join([f"run {run.run_id}", *run_url(server, run)]), flush=True)
    if options.wait:
        from pipeline.client.watching import Titles, wait

        wait(server, str(run.run_id), Titles.read(spec), lambda line: print(line, flush=True))
    return None


COMMANDS = {"compile": _compile, "run": _run, "upload": _upload, "submit": _submit}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        COMMANDS[options.command](options)
    except CycleGANError as error:
        print(f"pipeline {options.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"pipeline {options.command}: interrupted; what was submitted continues.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
