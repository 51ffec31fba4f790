"""What a task adopts from its pod's environment, and what it refuses to start without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cyclegan.cluster import settings
from cyclegan.errors import CycleGANError, UsageError


def test_settings_get_their_real_names() -> None:
    environment = {
        "CYCLEGAN_ENV_MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "CYCLEGAN_ENV_MLFLOW_EXPERIMENT_NAME": "cyclegan",
        "CYCLEGAN_ENV_AWS_ENDPOINT_URL": "",
        "CYCLEGAN_ENV_HTTPS_PROXY": "http://proxy:3128",
    }
    settings.adopt(environment)
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert environment["MLFLOW_EXPERIMENT_NAME"] == "cyclegan"
    assert environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert "AWS_ENDPOINT_URL" not in environment  # an empty setting is none


@pytest.mark.parametrize("injected", ["MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"])
def test_what_the_backend_injects_wins_and_nothing_of_ours_mixes_with_it(injected: str) -> None:
    environment = {
        injected: "theirs",
        "CYCLEGAN_ENV_MLFLOW_TRACKING_URI": "http://ours:5000",
        "CYCLEGAN_ENV_MLFLOW_EXPERIMENT_NAME": "ours",
        "CYCLEGAN_ENV_MLFLOW_TRACKING_USERNAME": "ours",
        "CYCLEGAN_ENV_MLFLOW_TRACKING_PASSWORD": "ours",
        "CYCLEGAN_ENV_AWS_DEFAULT_REGION": "eu-central-1",
    }
    settings.adopt(environment)
    assert {name for name in environment if name.startswith("MLFLOW_")} == {injected}
    assert environment["AWS_DEFAULT_REGION"] == "eu-central-1"


def test_the_launchers_credentials_do_not_keep_our_server_out() -> None:
    """KFP 2.17 with tracking of its own and no injection: a user and a password, and no address."""
    environment = {
        "MLFLOW_TRACKING_USERNAME": "launcher",
        "MLFLOW_TRACKING_PASSWORD": "launcher's",
        settings.PREFIX + "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        settings.PREFIX + "MLFLOW_TRACKING_USERNAME": "steps",
        settings.PREFIX + "MLFLOW_TRACKING_PASSWORD": "ours",
    }
    settings.adopt(environment)
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert environment["MLFLOW_TRACKING_USERNAME"] == "steps"
    assert environment["MLFLOW_TRACKING_PASSWORD"] == "ours"


def test_a_pods_own_keys_are_not_mixed_with_ours() -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "theirs",
        "CYCLEGAN_ENV_AWS_ACCESS_KEY_ID": "ours",
        "CYCLEGAN_ENV_AWS_SECRET_ACCESS_KEY": "ours",
    }
    settings.adopt(environment)
    assert environment["AWS_ACCESS_KEY_ID"] == "theirs"
    assert "AWS_SECRET_ACCESS_KEY" not in environment


@pytest.mark.parametrize(
    ("environment", "works"),
    [
        ({}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "CYCLEGAN_TRACKING": "off"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}, True),
    ],
)
def test_a_pod_without_a_tracking_server_stops(environment: dict[str, str], works: bool) -> None:
    if works:
        settings.require_server(environment)
    else:
        with pytest.raises(CycleGANError, match="CYCLEGAN_TRACKING=off"):
            settings.require_server(environment)


def test_accelerators_that_are_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for name in ("LOGNAME", "CYCLEGAN_KFP_TASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    settings.begin(accelerators="1")
    settings.begin(accelerators="0")
    settings.begin(accelerators="")
    with pytest.raises(CycleGANError, match="2 accelerators were asked for and torch sees 1"):
        settings.begin(accelerators="2")
    with pytest.raises(UsageError, match="whole number"):
        settings.begin(accelerators="many")


def test_settings_of_the_example_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLEGAN_ENV_AWS_ENDPOINT_URL", "http://store:9000")
    monkeypatch.setenv("CYCLEGAN_ENV_AWS_SECRET_ACCESS_KEY", "CHANGE-ME")
    with pytest.raises(UsageError, match=r"^AWS_SECRET_ACCESS_KEY of .*: still CHANGE-ME; fill it in\.$"):
        settings.begin()


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass
    import os
    import pwd

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: (_ for _ in ()).throw(KeyError("uid not found")))
    settings.begin()
    assert getpass.getuser() == "cyclegan"


@pytest.mark.parametrize(
    ("error", "traceback"), [("CycleGANError('No images.')", False), ("ValueError('No images.')", True)]
)
def test_a_failed_step_ends_in_one_sentence(error: str, traceback: bool) -> None:
    code = (
        f"from cyclegan.cluster.settings import begin; from cyclegan.errors import *; begin(); raise {error}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("No images.")
    assert ("Traceback" in done.stderr) is traceback
