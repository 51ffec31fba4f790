"""The parameters of the pipelines, one line each; signatures, defaults and checks are built from these.

A name is `<group>_<what>[_<unit>]`, so that the form on KFP's page, which sorts by name and shows nothing
else, reads in groups. Type, default and description of a parameter that is a field of a step's config come
from that dataclass. Everything else of a step's config travels in `<group>_options`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from cyclegan.cluster.arguments import describe_fields
from cyclegan.errors import UsageError
from cyclegan.io.uri import redact, reveal
from cyclegan.registry.config import dataset_name
from pipeline.defaults import CONFIGS, Defaults


@dataclass(frozen=True)
class Parameter:
    """One parameter of a pipeline."""

    name: str
    step: str = ""
    """Section of params.yaml, such as train; empty for what no step's config knows."""
    field: str = ""
    """Field of that step's config; `*` stands for all that have no parameter of their own."""
    formerly: str = ""
    """Name before the groups; refused with a hint."""
    plain: type = str
    """Of a parameter that is not a field."""
    value: Any = inspect.Parameter.empty
    """Default of a parameter that is not a field; empty: it must be given."""
    text: str = ""
    """Description, where the field's own is not enough."""

    @property
    def kind(self) -> type:
        """What KFP makes of it: str, int, float, bool, dict or list."""
        if self.field == "*":
            return dict
        if not self.field:
            return self.plain
        hint = typing.get_type_hints(CONFIGS[self.step])[self.field]
        return str if typing.get_origin(hint) is Literal else hint

    @property
    def description(self) -> str:
        """One sentence for the YAML file, `--list` and the table in the pipeline's description."""
        if self.field == "*":
            return f"Further fields of {CONFIGS[self.step].__name__}, as a JSON object."
        if self.text or not self.field:
            return self.text
        hint = typing.get_type_hints(CONFIGS[self.step])[self.field]
        text = describe_fields(CONFIGS[self.step])[self.field]
        if typing.get_origin(hint) is Literal and typing.get_args(hint)[0] not in text:
            text = f"{text.rstrip('.')}: {', '.join(map(str, typing.get_args(hint)))}."
        return text

    def default(self, defaults: Defaults) -> Any:
        """Its value under a parameter file's; `inspect.Parameter.empty` where it must be given.

        Raises UsageError for an address whose secret part would have to be left out.
        """
        if self.name == "data_version":
            return defaults.version
        if self.field == "*":
            return defaults.options(self.step, own_fields(self.step))
        value = getattr(getattr(defaults, self.step), self.field) if self.field else self.value
        if isinstance(value, str):
            refuse_secret(f"{self.step}.{self.field}", value)
            return str(value)  # of an Address, which KFP does not take for text
        return value


STEPS = (
    Parameter("data_source", "fetch", "source", "source"),
    Parameter(
        "data_version",
        "fetch",
        "version",
        "version",
        text="DVC directory md5 that the images must have, or the address of a data.dvc that names it, read "
        "at each run; empty takes what is there.",
    ),
    Parameter("data_options", "fetch", "*", "fetch_options"),
    Parameter("preprocess_load_size_px", "preprocess", "load_size", "load_size"),
    Parameter("preprocess_options", "preprocess", "*"),
    Parameter("train_generator", "train", "generator", "generator"),
    Parameter("train_epochs", "train", "epochs", "epochs"),
    Parameter("train_decay_epochs", "train", "decay_epochs", "decay_epochs"),
    Parameter("train_batch_size", "train", "batch_size", "batch_size"),
    Parameter("train_crop_size_px", "train", "crop_size", "crop_size"),
    Parameter("train_lr", "train", "lr", "lr"),
    Parameter("train_lambda_cycle", "train", "lambda_cycle", "lambda_cycle"),
    Parameter("train_lambda_identity", "train", "lambda_identity", "lambda_identity"),
    Parameter("train_seed", "train", "seed", "seed"),
    Parameter("train_options", "train", "*"),
    Parameter(
        "train_checkpoints",
        formerly="checkpoints",
        value="outputs/checkpoints",
        text="s3:// address or mounted folder for checkpoints; any other folder is lost with its pod.",
    ),
    Parameter("evaluate_features", "evaluate", "features", "features"),
    Parameter("evaluate_weights", "evaluate", "weights", "weights"),
    Parameter("evaluate_options", "evaluate", "*"),
    Parameter("gate_max_score", "register", "max_score", "max_score"),
    Parameter("register_name", "register", "name", "model_name"),
    Parameter("register_options", "register", "*"),
)
"""The parameters of a training's steps."""

NODE = (
    Parameter("node_cpu_cores", formerly="cpu", value="1", text="CPU cores requested."),
    Parameter(
        "node_memory", formerly="memory", value="4Gi", text="Memory requested, and its limit, such as 16Gi."
    ),
    Parameter(
        "node_accelerators",
        formerly="accelerators",
        value="",
        text="Number of accelerators; empty or 0: the CPU is used.",
    ),
    Parameter(
        "node_accelerator_type",
        formerly="accelerator_type",
        value="nvidia.com/gpu",
        text="Resource name of the accelerator.",
    ),
    Parameter(
        "node_selector",
        plain=dict,
        value={},
        text='Labels that the node must have, such as {"cloud.google.com/gke-spot": "true"}.',
    ),
    Parameter(
        "node_tolerations",
        formerly="tolerations",
        plain=list,
        value=[],
        text="Taints, besides nvidia.com/gpu, that the pods tolerate.",
    ),
)
"""What the heavy tasks ask of a node. Text, numbers too: the backend reads resources as strings alone."""

CYCLEGAN = (*STEPS, *NODE)
SWEEP = (
    Parameter(
        "sweep_grid",
        formerly="grid",
        plain=dict,
        value={"seed": [0, 1]},
        text="Fields of TrainConfig and the values to try; every combination is one trial.",
    ),
    *CYCLEGAN,
)
TRANSLATE = (
    Parameter("translate_images", formerly="images", text="s3:// prefix or mounted folder of images."),
    Parameter(
        "translate_out",
        formerly="out",
        text="s3:// prefix or mounted folder for the translations, under the same names.",
    ),
    Parameter(
        "translate_model",
        formerly="model",
        value="models:/{name}-AtoB@champion",
        text="Address of the model: models:/<name>-AtoB@champion, s3:// or a mounted folder.",
    ),
    Parameter(
        "translate_shards",
        formerly="shards",
        plain=int,
        value=8,
        text="Number of parts the images are divided into; some run at a time.",
    ),
    Parameter(
        "translate_options", plain=dict, value={}, text="Further fields of TranslateConfig, as a JSON object."
    ),
    *NODE,
)
TABLES = {"cyclegan": CYCLEGAN, "cyclegan-sweep": SWEEP, "cyclegan-translate": TRANSLATE}
"""The parameters of each pipeline, by the pipeline's name in its compiled file."""
FORMER = {p.formerly: p.name for p in (*SWEEP, *TRANSLATE) if p.formerly}
"""The present name of each renamed parameter."""


def own_fields(step: str) -> tuple[str, ...]:
    """Fields of a step's config that are parameters by themselves."""
    return tuple(p.field for p in STEPS if p.step == step and p.field != "*")


class Given:
    """What a pipeline's body gets: its parameters as channels, by name or all of a step."""

    def __init__(self, parameters: tuple[Parameter, ...], channels: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._channels = channels

    def __getitem__(self, name: str) -> Any:
        return self._channels[name]

    def of(self, step: str) -> dict[str, Any]:
        """The arguments of a step's component: its typed fields by their own names, and `options`."""
        return {
            "options" if p.field == "*" else p.field: self._channels[p.name]
            for p in self._parameters
            if p.step == step and p.field
        }

    def node(self) -> dict[str, Any]:
        """What the heavy tasks ask of a node, by names without the group."""
        return {p.name.removeprefix("node_"): self._channels[p.name] for p in NODE}


def chosen(parameters: tuple[Parameter, ...], defaults: Defaults) -> dict[str, Any]:
    """The parameters that a parameter file has a say in, as it has them."""
    values = _values(parameters, defaults)
    return {p.name: values[p.name] for p in parameters if p.field or p.name == "translate_model"}


def refuse_secret(name: str, value: str) -> None:
    """Raise UsageError for an address with a password or token: Kubeflow stores arguments and shows them."""
    if redact(value) != reveal(value):
        raise UsageError(
            f"{name}={redact(value)} was given with a password or token, which Kubeflow would store and "
            "show; put the file where the cluster's own credentials reach it, such as s3://."
        )


def _values(parameters: tuple[Parameter, ...], defaults: Defaults) -> dict[str, Any]:
    values = {p.name: p.default(defaults) for p in parameters}
    if "translate_model" in values:
        name = defaults.register.name or dataset_name(defaults.fetch.source, {})
        values["translate_model"] = values["translate_model"].format(name=name)
    return values


def pipeline_of(
    parameters: tuple[Parameter, ...], defaults: Defaults, body: Callable[[Given], None], **about: Any
) -> BaseComponent:
    """A KFP pipeline with these parameters; `about` goes to `dsl.pipeline`.

    KFP reads name, type and default from a function's signature and descriptions from its docstring.
    """

    def function(*channels: Any) -> None:
        body(Given(parameters, dict(zip((p.name for p in parameters), channels, strict=True))))

    values = _values(parameters, defaults)
    # mypy does not know that a function may carry a signature
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                p.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=values[p.name],
                annotation=p.kind,
            )
            for p in parameters
        ]
    )
    lines = "\n".join(f"    {p.name}: {p.description}" for p in parameters)
    function.__doc__ = f"{about['description']}\n\nArgs:\n{lines}\n"
    return dsl.pipeline(function, **about)


def table(parameters: tuple[Parameter, ...]) -> str:
    """The parameters in Markdown, for the description that KFP's page shows beside a pipeline."""
    kinds = {str: "text", int: "integer", float: "number", bool: "true/false", dict: "object", list: "list"}
    rows = [
        f"| {p.name} | {kinds[p.kind]} | {p.description} |" for p in sorted(parameters, key=lambda p: p.name)
    ]
    return "\n".join(["| parameter | type | meaning |", "|---|---|---|", *rows])
