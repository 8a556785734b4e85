"""Predictions to Arize, by its own library (`arize` 7, extra `arize`).

Arguments of `add_logger("arize", …)`: `platform_authentication` has `api_key` and `space_id` (or
`space_key`, its name before); `platform_args` may have `model_type` (a name of Arize's `ModelTypes`
in any case, `score_categorical` by default), `model_id` (the deployment's name by default),
`class_labels`, and `uri`. Interface: Arize's Python SDK, `arize.pandas.logger.Client.log`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.core.errors import InvalidSetting
from penstock.core.loggers import LoggerSpec
from penstock.stores.loggers import PredictionRow

_ARGUMENTS = frozenset({"class_labels", "model_id", "model_type", "uri"})


def check_arize(spec: LoggerSpec) -> None:
    """Raise `InvalidSetting` if the authentication or an argument cannot be right."""
    given = set(spec.authentication)
    if "api_key" not in given or not given & {"space_id", "space_key"}:
        raise InvalidSetting(
            "The logger 'arize' needs platform_authentication with api_key and space_id; got "
            f"{', '.join(sorted(given)) or 'nothing'}."
        )
    unknown = set(spec.arguments) - _ARGUMENTS
    if unknown:
        raise InvalidSetting(
            f"The logger 'arize' does not know the platform_args {', '.join(sorted(unknown))}.",
            hint=f"It knows {', '.join(sorted(_ARGUMENTS))}.",
        )


def _column(pd: Any, values: list[Any]) -> Any:
    """Return a column of numbers; of texts where one is a text, as Arize takes no mixture.

    Texts are Python objects: Arize refuses the text type that pandas 3 would choose.
    """
    if not any(isinstance(value, str) for value in values):
        return pd.Series(values, dtype="float64")
    texts = [value if value is None else str(value) for value in values]
    return pd.Series(texts, dtype=object)


class ArizeLogger:
    """Sends rows as data frames.

    Args:
        spec: The logger, its references resolved.
    """

    def __init__(self, spec: LoggerSpec) -> None:
        from arize.pandas.logger import Client, Schema
        from arize.utils.types import Environments, ModelTypes

        secrets, more = spec.authentication, {}
        if "uri" in spec.arguments:
            more["uri"] = str(spec.arguments["uri"])
        space = "space_id" if "space_id" in secrets else "space_key"
        more[space] = secrets[space]
        self._client: Any = Client(api_key=secrets["api_key"], **more)
        self._schema, self._environment = Schema, Environments.PRODUCTION
        wanted = str(spec.arguments.get("model_type", "score_categorical"))
        self._model_type = ModelTypes[wanted.rpartition(".")[2].upper()]
        self._spec = spec

    def write(self, rows: Sequence[PredictionRow]) -> None:
        """Send rows of one version.

        Raises:
            RuntimeError: Arize refused them.
        """
        import pandas as pd

        features = [{**row.features, **row.features_text} for row in rows]
        names = sorted({name for values in features for name in values})
        columns = {name: [values.get(name) for values in features] for name in names}
        columns["prediction_id"] = [row.prediction_id for row in rows]
        labels, scores = zip(*(self._label_and_score(row) for row in rows), strict=True)
        columns["prediction_label"] = list(labels)
        scored = any(score is not None for score in scores)
        if scored:
            columns["prediction_score"] = list(scores)
        frame = pd.DataFrame({name: _column(pd, values) for name, values in columns.items()})
        frame["prediction_ts"] = [int(row.time) for row in rows]
        schema = self._schema(
            prediction_id_column_name="prediction_id",
            timestamp_column_name="prediction_ts",
            prediction_label_column_name="prediction_label",
            prediction_score_column_name="prediction_score" if scored else None,
            feature_column_names=names,
        )
        answer = self._client.log(
            dataframe=frame,
            schema=schema,
            environment=self._environment,
            model_id=str(self._spec.arguments.get("model_id", rows[0].deployment)),
            model_type=self._model_type,
            model_version=str(rows[0].version),
        )
        if answer.status_code >= 300:
            raise RuntimeError(f"Arize answered {answer.status_code}: {str(answer.text)[:300]}")

    def _label_and_score(self, row: PredictionRow) -> tuple[Any, float | None]:
        """Return the label and its score: of several numbers the largest one's, with its name."""
        if row.outputs_text:
            return next(iter(row.outputs_text.values())), None
        values = {name: value for name, value in row.outputs.items() if value is not None}
        if len(values) < 2:
            return next(iter(values.values()), None), None
        best = max(values, key=lambda name: values[name])
        labels = self._spec.arguments.get("class_labels")
        return labels[list(row.outputs).index(best)] if labels else best, values[best]

    def close(self) -> None:
        """Do nothing: every `write` is sent."""
