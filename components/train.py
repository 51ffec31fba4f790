"""Component: packed arrays into two generators."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    prepared: dsl.Input[dsl.Dataset],
    prepared_digest: str,
    generator: str,
    epochs: int,
    decay_epochs: int,
    batch_size: int,
    crop_size: int,
    lr: float,
    lambda_cycle: float,
    lambda_identity: float,
    seed: int,
    options: str,
    checkpoints: str,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> str:
    """Train both generators; a retry continues from the last checkpoint.

    Args:
        prepared: Arrays that preprocess wrote.
        prepared_digest: SHA-256 of their manifest; part of the cache key, which does not see into artifacts.
        generator: Architecture of both generators: vgg_unet, resnet or unet.
        epochs: Epochs at the full learning rate.
        decay_epochs: Epochs after them, over which the learning rate falls to 0.
        batch_size: Images of each domain in an update.
        crop_size: Side of random square crops in pixels; 0 takes whole images.
        lr: Learning rate of Adam.
        lambda_cycle: Weight of the cycle loss.
        lambda_identity: Weight of the identity loss; 0 leaves it out.
        seed: Decides initial weights, order of images, augmentation and buffer.
        options: Further fields of TrainConfig as a JSON object.
        checkpoints: Folder or s3:// address; only s3:// and mounted volumes outlive a pod.
        model: Generators AtoB and BtoA and config.json.
        metrics: Final losses and speed.

    Returns:
        SHA-256 of the model's config.json, which names its MLflow run.
    """
    import json
    from pathlib import Path

    from cyclegan.cli.params import config_from
    from cyclegan.io.files import sha256
    from cyclegan.training.config import TrainConfig
    from cyclegan.training.launch import train_everywhere

    fields = {"generator": generator, "epochs": epochs, "decay_epochs": decay_epochs, "lr": lr, "seed": seed}
    fields |= {"batch_size": batch_size, "crop_size": crop_size}
    fields |= {"lambda_cycle": lambda_cycle, "lambda_identity": lambda_identity}
    config = config_from(TrainConfig, fields | json.loads(options), "train")
    folders = Path(prepared.path), Path(model.path)
    for name, value in train_everywhere(*folders, config, checkpoints=checkpoints).items():
        metrics.log_metric(name, float(value))
    return sha256(Path(model.path) / "config.json")
