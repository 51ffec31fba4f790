#!/usr/bin/env bash
# A cluster on this machine with Kubeflow Pipelines, MLflow and the sample's run: needs docker, kind, kubectl, the
# internet, 8 GB of memory and 40 GB of disk. Again on a cluster that is there, it brings that up to date.
#   make cluster [SAMPLE=no] [TORCH_INDEX=<an index of CPU builds of torch>]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/cluster/versions.env
source deploy/cluster/versions.env
name=cyclegan
image=${IMAGE:?set by make}
mlflow=cyclegan-mlflow:$MLFLOW_VERSION
port=${PORT:-8080}

for tool in docker kind kubectl openssl; do
  command -v "$tool" >/dev/null || { echo "make cluster needs $tool, which is not installed." >&2; exit 2; }
done
docker info >/dev/null 2>&1 || { echo "docker is installed but does not answer: start it." >&2; exit 2; }

if ! kind get clusters | grep -qx "$name"; then
  kind create cluster --name "$name" --image "$NODE_IMAGE" --wait 180s
fi
kubectl config use-context "kind-$name" >/dev/null

manifests=github.com/kubeflow/pipelines/manifests/kustomize
kubectl apply -k "$manifests/cluster-scoped-resources?ref=$KFP_VERSION"
kubectl wait crd/applications.app.k8s.io --for=condition=established --timeout=60s
kubectl apply -k "$manifests/env/platform-agnostic?ref=$KFP_VERSION"

docker build --tag "$mlflow" deploy/mlflow
kind load docker-image --name "$name" "$mlflow" "$image"

# Secrets are made once and stay: PostgreSQL keeps the password that it was started with.
secret() {
  local namespace=$1 secret=$2
  shift 2
  kubectl get secret "$secret" -n "$namespace" >/dev/null 2>&1 \
    || kubectl create secret generic "$secret" -n "$namespace" "$@"
}
stored() {
  kubectl get secret mlpipeline-minio-artifact -n kubeflow -o "jsonpath={.data.$1}" | base64 -d
}
kubectl apply -f deploy/mlflow/namespace.yaml
access=$(stored accesskey)
key=$(stored secretkey)
database=$(openssl rand -hex 16)
password=$(openssl rand -hex 16)
secret cyclegan mlflow-server \
  --from-literal=POSTGRES_PASSWORD="$database" \
  --from-literal=MLFLOW_FLASK_SERVER_SECRET_KEY="$(openssl rand -hex 32)" \
  --from-literal=basic_auth.ini="[mlflow]
default_permission = READ
database_uri = postgresql+psycopg2://mlflow:$database@postgres:5432/mlflow
admin_username = admin
admin_password = $password
"
secret cyclegan mlflow-s3 --from-literal=AWS_ACCESS_KEY_ID="$access" --from-literal=AWS_SECRET_ACCESS_KEY="$key"
secret kubeflow cyclegan-s3 --from-literal=AWS_ACCESS_KEY_ID="$access" --from-literal=AWS_SECRET_ACCESS_KEY="$key"
secret kubeflow cyclegan-mlflow \
  --from-literal=MLFLOW_TRACKING_USERNAME=admin --from-literal=MLFLOW_TRACKING_PASSWORD="$password"
kubectl apply -k deploy/overlays/kind

echo "Waiting for the pods; the first time this takes some ten minutes."
kubectl wait deployment --all -n kubeflow --for=condition=available --timeout=1200s
kubectl wait deployment --all -n cyclegan --for=condition=available --timeout=600s
echo "KFP's page:     kubectl port-forward -n kubeflow svc/ml-pipeline-ui $port:80"
echo "MLflow's pages: kubectl port-forward -n cyclegan svc/mlflow 5000:5000   (user admin, password in secret mlflow-server)"

[ "${SAMPLE:-yes}" = no ] && exit 0
kubectl port-forward -n kubeflow svc/ml-pipeline-ui "$port:80" >/dev/null &
forward=$!
trap 'kill "$forward" 2>/dev/null || true' EXIT
for _ in $(seq 60); do
  curl -fs "http://localhost:$port/apis/v2beta1/healthz" >/dev/null && break
  sleep 1
done
KFP_ENDPOINT=http://localhost:$port .venv/bin/python -m pipeline submit --image "$image" --backend "$KFP_VERSION" \
  --service-account cyclegan-steps --wait train_checkpoints=s3://mlpipeline/cyclegan/checkpoints
