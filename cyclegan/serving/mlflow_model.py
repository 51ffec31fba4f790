"""The model that MLflow stores and serves: an encoded picture in, its encoded translation out.

MLflow keeps this file as the model's code ("models from code", nothing is pickled), with the package beside
it in `code/` and the weights in `artifacts/`. Without torch it runs on ONNX Runtime or OpenVINO.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from cyclegan.errors import CycleGANError, UsageError


class PictureModel(PythonModel):
    """`predict` takes a column `image` of encoded pictures of any size and mode and returns such a column."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the generator; `model_config` may name engine, precision and device."""
        from cyclegan.inference.translator import load

        config = context.model_config
        chosen = {key: config[key] for key in ("engine", "precision", "device")}
        weights = Path(context.artifacts["config"]).parent
        self.translator = load(weights, config["direction"], **chosen)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Translate every row; wrong input is an error of MLflow's that its server answers with 400."""
        from cyclegan.serving.options import PictureOptions

        try:
            options = PictureOptions(**(params or {}))
            images = [
                options.translate(self.translator, _bytes(data, which), which)
                for i, data in enumerate(model_input["image"], start=1)
                if (which := f"Image {i} of {len(model_input)}")
            ]
        except UsageError as error:
            raise mlflow.MlflowException(str(error), INVALID_PARAMETER_VALUE) from None
        except CycleGANError as error:
            raise mlflow.MlflowException(str(error), INTERNAL_ERROR) from None
        return pd.DataFrame({"image": images})


def _bytes(value: Any, which: str) -> bytes:
    """The bytes that a request carries; MLflow decodes base64 in some of its request forms only."""
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise UsageError(f"{which} is not base64.") from None
    if not isinstance(value, bytes):
        raise UsageError(f"{which} is not a picture's bytes (base64 in JSON) but {type(value).__name__}.")
    return value


mlflow.models.set_model(PictureModel())
