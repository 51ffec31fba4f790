#!/bin/sh
# Starts the MLflow server, unless a password or key is still the one of the examples.
set -eu
for name in POSTGRES_PASSWORD MLFLOW_BACKEND_STORE_URI MLFLOW_FLASK_SERVER_SECRET_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do
  case "$(printenv "$name" || true)" in
    *CHANGE-ME*) echo "$name is still CHANGE-ME: fill in the secrets before the start." >&2; exit 1 ;;
  esac
done
if grep -q CHANGE-ME "${MLFLOW_AUTH_CONFIG_PATH:-/dev/null}"; then
  echo "basic_auth.ini still has a CHANGE-ME: fill in the secrets before the start." >&2
  exit 1
fi
exec mlflow server "$@"
