"""A broken artifact store is one sentence, as a broken server is."""

from __future__ import annotations

import pytest
import requests
from botocore.exceptions import ClientError, EndpointConnectionError

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.tracking.server import first_line, mlflow_errors

URL = "https://store.org/bucket/key?X-Amz-Signature=hunter2"


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError(f"Max retries exceeded with url: {URL}\nand more"),
        requests.HTTPError(f"500 Server Error for url: {URL}"),
        EndpointConnectionError(endpoint_url=URL),
        OSError(28, "No space left on device"),
    ],
)
def test_errors_of_the_artifact_store_are_one_sentence(error, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(CycleGANError, match=r"^The registry http://127.0.0.1:1 refused: .+\.$") as raised:
        with mlflow_errors("The registry {} refused"):
            raise error
    assert "hunter2" not in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_store_that_redirects_in_circles_is_one_sentence():
    def circle():
        circle()

    with pytest.raises(CycleGANError, match="redirects in circles") as raised:
        with mlflow_errors("The registry {} refused"):
            circle()
    assert str(raised.value).isprintable()


def test_an_answer_that_mlflow_itself_cannot_read_is_one_sentence():
    answer = ClientError({"Error": {"Code": "PermanentRedirect"}}, "ListObjectsV2")
    code = "try:\n    raise answer\nexcept Exception as error:\n    error.response['Error']['Message']"
    with pytest.raises(CycleGANError, match=r"PermanentRedirect.*ListObjectsV2"):
        with mlflow_errors("The registry {} refused"):
            exec(code, {"__name__": "mlflow.store", "answer": answer})


@pytest.mark.parametrize("error", [UsageError("mine"), ValueError("a defect of ours"), KeyboardInterrupt()])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as raised, mlflow_errors("x"):
        raise error
    assert raised.value is error


def test_an_mlflow_error_quotes_no_secret(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hun/ter2@host.org")
    text = "API request to http://user:hun/ter2@host.org/api failed\x1b[2J\nmore"
    assert first_line(RuntimeError(text)) == "API request to http://… failed\\x1b[2J"
