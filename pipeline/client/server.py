"""The API server of Kubeflow Pipelines: who we are there, and the few calls that submitting needs."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError, UsageError

TOKEN_FILE = "KF_PIPELINES_SA_TOKEN_PATH"
"""Variable that Kubeflow sets in pods to the file of a token for this server."""
SECONDS = 20


class Unreachable(CycleGANError):
    """The server does not answer, or has a fault of its own; what it was doing may well continue."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Which server, and who asks; the variables are those of KFP's own command line, and KFP_COOKIES."""

    endpoint: str = ""
    namespace: str = ""
    """Of the runs, in an installation for several users."""
    token: str = ""
    cookies: str = ""

    @classmethod
    def of(cls, *, namespace: str = "", token: str = "") -> Login:
        """What was given, completed by KFP_ENDPOINT, KFP_NAMESPACE, KFP_EXISTING_TOKEN and KFP_COOKIES."""
        get = os.environ.get
        return cls(
            endpoint=get("KFP_ENDPOINT", "").rstrip("/"),
            namespace=namespace or get("KFP_NAMESPACE", ""),
            token=token or get("KFP_EXISTING_TOKEN", "") or _token_of_pod(),
            cookies=get("KFP_COOKIES", ""),
        )

    @property
    def where(self) -> str:
        """The server in words, for messages."""
        return self.endpoint or "the cluster of the current kubectl context"


class Server:
    """A connection. Every refusal is a CycleGANError with the server's own words."""

    def __init__(self, login: Login) -> None:
        self.login = login
        health = self._health()
        self.version = str(health.get("tag_name") or "").removeprefix("v")
        """Such as 2.17.0; empty or `unknown` if the server does not say."""
        self.multi_user = bool(health.get("multi_user"))
        if self.multi_user and not login.namespace:
            raise UsageError(
                f"{login.where} serves several users: name your namespace by --namespace or KFP_NAMESPACE."
            )
        self.namespace = login.namespace if self.multi_user else None
        self._client = self._connect()

    def pipeline(self, name: str, description: str, file: Path, version: str, tags: dict[str, str]) -> Any:
        """The version called `version` of the pipeline `name`, uploaded from `file` where it is not there."""
        from kfp_server_api import V2beta1Pipeline

        with self._refusals():
            pipeline_id = self._find_pipeline(name)
            if pipeline_id is None:
                wanted = V2beta1Pipeline(
                    name=name, display_name=name, description=description, namespace=self.namespace
                )
                made = self._client._pipelines_api.pipeline_service_create_pipeline(pipeline=wanted)
                pipeline_id = str(made.pipeline_id)
            found = self._find_version(pipeline_id, version)
            if found is not None:
                return found
            return self._client._upload_api.upload_pipeline_version(
                str(file),
                name=version,
                display_name=version,
                pipelineid=pipeline_id,
                description=description,
                tags=json.dumps(tags),
            )

    def experiment(self, name: str, description: str) -> str:
        """Id of the experiment, made where it is not there."""
        from kfp_server_api import V2beta1Experiment

        with self._refusals():
            kwargs = {"namespace": self.namespace} if self.namespace else {}
            found = self._client._experiment_api.experiment_service_list_experiments(
                filter=_named(name), **kwargs
            )
            for experiment in found.experiments or []:
                if experiment.display_name == name:
                    return str(experiment.experiment_id)
            wanted = V2beta1Experiment(display_name=name, description=description, namespace=self.namespace)
            made = self._client._experiment_api.experiment_service_create_experiment(experiment=wanted)
            return str(made.experiment_id)

    def run(self, **fields: Any) -> Any:
        """Create a run from the fields of V2beta1Run."""
        from kfp_server_api import V2beta1Run

        with self._refusals():
            return self._client._run_api.run_service_create_run(run=V2beta1Run(**fields))

    def get_run(self, run_id: str) -> Any:
        """A run as it stands."""
        with self._refusals():
            return self._client._run_api.run_service_get_run(run_id, _request_timeout=SECONDS)

    def schedule(self, **fields: Any) -> str:
        """Create a recurring run from the fields of V2beta1RecurringRun; returns its id."""
        from kfp_server_api import V2beta1RecurringRun

        with self._refusals():
            made = self._client._recurring_run_api.recurring_run_service_create_recurring_run(
                recurring_run=V2beta1RecurringRun(**fields)
            )
            return str(made.recurring_run_id)

    def log(self, run_id: str, pod: str) -> str:
        """What a pod of a run printed; empty where the server no longer has it."""
        import requests

        address = f"{self._url()}/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log"
        try:
            answer = requests.get(address, headers=self._headers(), timeout=SECONDS)
        except requests.RequestException:
            return ""
        # of a large run, whose nodes Argo compresses, it answers 200 and that it found none
        return answer.text if answer.ok and not answer.text.startswith('{"error') else ""

    def _find_pipeline(self, name: str) -> str | None:
        kwargs = {"namespace": self.namespace} if self.namespace else {}
        found = self._client._pipelines_api.pipeline_service_list_pipelines(filter=_named(name), **kwargs)
        return next((str(p.pipeline_id) for p in found.pipelines or [] if p.display_name == name), None)

    def _find_version(self, pipeline_id: str, name: str) -> Any:
        found = self._client._pipelines_api.pipeline_service_list_pipeline_versions(
            pipeline_id, filter=_named(name)
        )
        return next((v for v in found.pipeline_versions or [] if v.display_name == name), None)

    def _url(self) -> str:
        return self.login.endpoint or str(self._client._existing_config.host).rstrip("/")

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.login.token}"} if self.login.token else {}
        return headers | ({"Cookie": self.login.cookies} if self.login.cookies else {})

    def _health(self) -> dict[str, Any]:
        """What the server says of itself; asked first, since the client retries a refusal for minutes."""
        import requests

        if not self.login.endpoint:
            return {}
        address = f"{self.login.endpoint}/apis/v2beta1/healthz"
        try:
            answer = requests.get(address, headers=self._headers(), timeout=SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise CycleGANError(
                f"Cannot reach Kubeflow Pipelines at {self.login.where} ({type(error).__name__}): "
                "set KFP_ENDPOINT to its address."
            ) from None
        if answer.is_redirect or answer.status_code in {401, 403}:
            raise CycleGANError(
                f"{self.login.where} wants you to sign in ({answer.status_code}): use --token, or set "
                "KFP_COOKIES to the cookies of a browser that is signed in; see docs/cluster.md."
            )
        try:
            return dict(answer.json()) if answer.ok else {}
        except ValueError:
            raise CycleGANError(
                f"{self.login.where} answers, but not as Kubeflow Pipelines: check KFP_ENDPOINT."
            ) from None

    def _connect(self) -> Any:
        import kfp

        with self._refusals(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about servers before 2.0
            logging.disable(logging.ERROR)  # it prints tracebacks while it retries
            try:
                return kfp.Client(
                    host=self.login.endpoint or None,
                    namespace=self.login.namespace or "kubeflow",
                    existing_token=self.login.token or None,
                    cookies=self.login.cookies or None,
                )
            finally:
                logging.disable(logging.NOTSET)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            if (error.status or 0) >= 500 or error.status == 429:
                raise Unreachable(f"Kubeflow Pipelines failed: {said_by_server(error)}") from None
            raise CycleGANError(f"Kubeflow Pipelines refused: {said_by_server(error)}") from None
        except (HTTPError, OSError, RuntimeError) as error:
            raise Unreachable(
                f"Cannot reach Kubeflow Pipelines at {self.login.where} ({type(error).__name__}): "
                "set KFP_ENDPOINT to its address."
            ) from None


def said_by_server(error: Any) -> str:
    """The server's own reason in an ApiException, in one line; status and phrase if it sent none."""
    try:
        body = json.loads(error.body)
        text = body.get("message") or body.get("error") or body.get("error_message") or ""
    except (TypeError, ValueError, AttributeError):
        text = str(error.body or "")
    text = " ".join(str(text).split())[:600]
    return f"{text or error.reason} ({error.status})."


def _named(name: str) -> str:
    """A filter for a list: what is called exactly so."""
    return json.dumps({"predicates": [{"operation": 1, "key": "display_name", "stringValue": name}]})


def _token_of_pod() -> str:
    path = Path(os.environ.get(TOKEN_FILE, ""))
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
