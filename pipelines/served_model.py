"""What MLflow runs to serve a registered model, instead of unpickling one ("model from code").

MLflow copies this file into each logged model, with `thaw` and the model's files beside it. Torch
is imported when a model is loaded, not before.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ServedModel(PythonModel):
    """A finished model behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model from the files that were logged with it."""
        from thaw.serving.service import open_service

        self._service = open_service(Path(context.artifacts["description"]).parent)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Answer each row of a table (`thaw.serving`); a row that cannot be by its ``error``.

        Raises:
            MlflowException: none of the model's columns is there. MLflow drops unknown ones, and
                with the last one the rows.
        """
        if model_input.columns.empty:
            raise MlflowException.invalid_parameter_value(
                f"no column of the model's: {', '.join(self._service.columns)}"
            )
        return list(self._service.answer(model_input))


set_model(ServedModel())
