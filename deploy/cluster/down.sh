#!/usr/bin/env bash
# Remove the cluster that `make cluster` made, and everything in it.
set -euo pipefail
command -v kind >/dev/null || { echo "make cluster-down needs kind, which is not installed." >&2; exit 2; }
kind delete cluster --name cyclegan
