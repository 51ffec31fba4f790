"""Component: a model's scores and report."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    prepared: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    model_digest: str,
    features: str,
    weights: str,
    options: str,
    scores: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> float:
    """Score both generators on the test images and write a report.

    Args:
        prepared: Arrays that preprocess wrote.
        model: Generators that train wrote.
        model_digest: SHA-256 of its config.json; part of the cache key, which does not see into artifacts.
        features: Feature extractor of the distribution distances.
        weights: File or address of Inception weights; empty takes torch-fidelity's own.
        options: Further fields of EvaluateConfig as a JSON object.
        scores: Folder of scores.json, evaluation.json and report.html.
        report: The report page by itself, for the KFP UI.
        metrics: All scores.

    Returns:
        The headline score, lower is better.
    """
    import json
    import shutil
    from pathlib import Path

    from cyclegan.cli.params import config_from
    from cyclegan.evaluation.config import EvaluateConfig
    from cyclegan.evaluation.evaluate import evaluate as step

    fields = {"features": features, "weights": weights} | json.loads(options)
    config = config_from(EvaluateConfig, fields, "evaluate")
    values = step(Path(prepared.path), Path(model.path), Path(scores.path), config)
    for name, value in values.items():
        metrics.log_metric(name, float(value))
    shutil.copyfile(Path(scores.path) / "report.html", report.path)
    return float(values["score"])
