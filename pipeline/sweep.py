"""The sweep: train and evaluate every combination of a grid on the same arrays, register the best by KID."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.evaluate import evaluate
from components.fetch import fetch
from components.finish import finish
from components.gate import gate
from components.preprocess import preprocess
from components.register import register
from components.sweep import pick_best, plan_trials
from components.train import train
from pipeline.cyclegan import TRAIN
from pipeline.defaults import Defaults
from pipeline.placement import Backend, Machine

PARALLEL = 4
"""Trials at a time; KFP takes no parameter for it."""


def build(defaults: Defaults, backend: Backend) -> BaseComponent:
    """The sweep, with the values of a parameter file as its defaults. Needs a backend of 2.14 or newer."""
    machine = Machine()

    @dsl.pipeline(
        name="cyclegan-sweep",
        display_name="CycleGAN: sweep",
        description="Train and evaluate every combination of a grid; register the best by kernel distance.",
        pipeline_config=backend.pipeline_config(),
    )
    def sweep(
        grid: dict = {"seed": [0, 1]},  # noqa: B006 - KFP only reads it
        source: str = defaults.fetch.source,
        version: str = defaults.version,
        fetch_options: str = defaults.options("fetch", ("source", "version")),
        load_size: int = defaults.preprocess.load_size,
        preprocess_options: str = defaults.options("preprocess", ("load_size",)),
        generator: str = defaults.train.generator,
        epochs: int = defaults.train.epochs,
        decay_epochs: int = defaults.train.decay_epochs,
        batch_size: int = defaults.train.batch_size,
        crop_size: int = defaults.train.crop_size,
        lr: float = defaults.train.lr,
        lambda_cycle: float = defaults.train.lambda_cycle,
        lambda_identity: float = defaults.train.lambda_identity,
        seed: int = defaults.train.seed,
        train_options: str = defaults.options("train", TRAIN),
        checkpoints: str = "outputs/checkpoints",
        features: str = defaults.evaluate.features,
        weights: str = defaults.evaluate.weights,
        evaluate_options: str = defaults.options("evaluate", ("features", "weights")),
        max_score: float = defaults.register.max_score,
        model_name: str = defaults.register.name,
        register_options: str = defaults.options("register", ("name", "max_score")),
        cpu: str = machine.cpu,
        memory: str = machine.memory,
        accelerator_type: str = machine.accelerator_type,
        accelerators: int = machine.accelerators,
        node_selector: dict = machine.node_selector,
        tolerations: list = machine.tolerations,
    ) -> None:
        """Train and evaluate every combination of a grid; register the best by kernel distance.

        Args:
            grid: Fields of TrainConfig and the values to try; every combination is one training.
            source: Images: synthetic:city, an archive or folder by https:// or s3://, or a DVC remote.
            version: DVC directory md5 that the images must have; empty takes them as they are.
            fetch_options: Further fields of FetchConfig, as a JSON object.
            load_size: Side in pixels to which images are resized.
            preprocess_options: Further fields of PreprocessConfig, as a JSON object.
            generator: Architecture: vgg_unet, resnet or unet.
            epochs: Epochs at the full learning rate.
            decay_epochs: Epochs after them, over which the learning rate falls to 0.
            batch_size: Images of each domain in an update.
            crop_size: Side of random square crops in pixels; 0 takes whole images.
            lr: Learning rate of Adam.
            lambda_cycle: Weight of the cycle loss.
            lambda_identity: Weight of the identity loss; 0 leaves it out.
            seed: Decides initial weights, order of images, augmentation and buffer.
            train_options: Further fields of TrainConfig that all trials share, as a JSON object.
            checkpoints: s3:// address or mounted folder; anything else is lost when a pod is retried.
            features: Feature extractor of the scores: auto, inception2048, random …
            weights: Address of Inception weights; empty takes torch-fidelity's own.
            evaluate_options: Further fields of EvaluateConfig, as a JSON object.
            max_score: Gate: a best model with a higher headline score is not registered; 0 is no gate.
            model_name: Registered models are called <model_name>-AtoB and <model_name>-BtoA.
            register_options: Further fields of RegisterConfig, as a JSON object.
            cpu: CPU cores requested by each training and evaluation.
            memory: Memory of each training and evaluation, such as 16Gi.
            accelerator_type: Resource name of the accelerator.
            accelerators: Accelerators of each training and evaluation; 0 computes on the CPU.
            node_selector: Labels that the nodes of trainings and evaluations must have.
            tolerations: Taints, besides nvidia.com/gpu, that trainings and evaluations put up with.
        """
        node = {
            "cpu": cpu,
            "memory": memory,
            "accelerator_type": accelerator_type,
            "accelerators": accelerators,
            "node_selector": node_selector,
            "tolerations": tolerations,
        }
        with backend.watched_by(finish):
            trials = plan_trials(grid=grid, options=train_options)
            backend.settle(trials, "Plan the trials", hours=1)

            fetched = fetch(source=source, version=version, options=fetch_options)
            backend.settle(fetched, "Fetch images", hours=12)

            prepared = preprocess(
                raw=fetched.outputs["raw"],
                version=fetched.outputs["Output"],
                load_size=load_size,
                options=preprocess_options,
            )
            backend.settle(prepared, "Prepare arrays", hours=12)

            with dsl.ParallelFor(trials.output, parallelism=PARALLEL, name="trials") as trial:
                trained = train(
                    prepared=prepared.outputs["prepared"],
                    prepared_digest=prepared.outputs["Output"],
                    generator=generator,
                    epochs=epochs,
                    decay_epochs=decay_epochs,
                    batch_size=batch_size,
                    crop_size=crop_size,
                    lr=lr,
                    lambda_cycle=lambda_cycle,
                    lambda_identity=lambda_identity,
                    seed=seed,
                    options=trial,
                    checkpoints=checkpoints,
                )
                backend.settle(trained, "Train generators", hours=6 * 24, retries=5)
                backend.place(trained, node)

                scored = evaluate(
                    prepared=prepared.outputs["prepared"],
                    model=trained.outputs["model"],
                    model_digest=trained.outputs["Output"],
                    features=features,
                    weights=weights,
                    options=evaluate_options,
                )
                backend.settle(scored, "Score and report", hours=12)
                backend.place(scored, node)

            best = pick_best(
                models=dsl.Collected(trained.outputs["model"]),
                scores=dsl.Collected(scored.outputs["scores"]),
            )
            backend.settle(best, "Pick the best", hours=1)
            best.set_caching_options(False)  # it gathers the runs in MLflow

            passed = gate(score=best.outputs["Output"], max_score=max_score)
            backend.settle(passed, "Good enough?", hours=1)

            with dsl.If(passed.output == True, name="good enough"):  # noqa: E712 - KFP records the comparison
                registered = register(
                    model=best.outputs["best_model"],
                    scores=best.outputs["best_scores"],
                    name=model_name,
                    max_score=max_score,
                    options=register_options,
                )
                backend.settle(registered, "Register as champion or challenger", hours=1)
                registered.set_caching_options(False)

    return sweep
