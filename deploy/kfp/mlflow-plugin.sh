#!/usr/bin/env bash
# For the administrator of KFP 2.17: let its API server track runs in the MLflow of deploy/mlflow.
#   USERNAME=admin PASSWORD=… deploy/kfp/mlflow-plugin.sh [NAMESPACE OF KFP]
# Adds mlflow-plugin.json to the server's own configuration and restarts it. Needs kubectl and jq.
set -euo pipefail
namespace=${1:-kubeflow}
: "${USERNAME:?name an MLflow user who may write runs}" "${PASSWORD:?and its password}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for tool in kubectl jq; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed." >&2; exit 2; }
done

kubectl create secret generic kfp-mlflow-credentials -n "$namespace" --dry-run=client -o yaml \
  --from-literal=username="$USERNAME" --from-literal=password="$PASSWORD" | kubectl apply -f -

config=$(mktemp)
trap 'rm -f "$config"' EXIT
kubectl exec -n "$namespace" deployment/ml-pipeline -c ml-pipeline-api-server -- cat /config/config.json \
  | jq --slurpfile plugin "$here/mlflow-plugin.json" '. * $plugin[0]' >"$config"
kubectl create configmap cyclegan-kfp-config -n "$namespace" --dry-run=client -o yaml \
  --from-file=config.json="$config" | kubectl apply -f -
kubectl patch deployment ml-pipeline -n "$namespace" --type=strategic -p '
spec:
  template:
    spec:
      volumes:
        - name: cyclegan-config
          configMap: {name: cyclegan-kfp-config}
      containers:
        - name: ml-pipeline-api-server
          volumeMounts:
            - {name: cyclegan-config, mountPath: /config/config.json, subPath: config.json}
'
kubectl rollout status deployment/ml-pipeline -n "$namespace" --timeout=300s
