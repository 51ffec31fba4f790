"""Kubeflow Pipelines components: each calls a tested function of `cyclegan` and adds nothing.

KFP ships only the source of the decorated function, so everything it needs is imported in its body, from the
package in the image, and its own signature must name its arguments. What a field of a step's config means is
said at that field; `component` copies it into the component's description.
"""

import os
from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl.python_component import PythonComponent

from cyclegan import __version__
from cyclegan.cluster.arguments import describe_fields

IMAGE = os.environ.get("CYCLEGAN_IMAGE", f"cyclegan-pipeline:{__version__}")
"""The image that every component runs in; CYCLEGAN_IMAGE, read when a pipeline is compiled, names another."""


def component(config: type | None = None) -> Callable[[Callable[..., Any]], PythonComponent]:
    """Make a component that runs in `IMAGE` of a function, by decorating it.

    The arguments that are fields of the dataclass `config`, where one is given, are described as those are.
    """

    def make(function: Callable[..., Any]) -> PythonComponent:
        if config:
            _describe_arguments(function, config)
        return dsl.component(function, base_image=IMAGE, install_kfp_package=False)

    return make


def _describe_arguments(function: Callable[..., Any], config: type) -> None:
    texts = describe_fields(config)
    lines = [f"        {name}: {texts[name]}" for name in function.__annotations__ if name in texts]
    lines.append(f"        options: Further fields of {config.__name__}, as a JSON object.")
    head, args, rest = (function.__doc__ or "").partition("    Args:\n")
    function.__doc__ = head + args + "\n".join(lines) + "\n" + rest
