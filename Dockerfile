# The image in which every step runs: the package, its locked dependencies, and of kfp only the executor.
#
#   make image                                            CUDA through the wheels
#   make image TORCH_INDEX=<index with CPU builds>        no CUDA libraries, about a fifth of the size
#   make image COMPILER="gcc libc6-dev"                   for training on GPUs with compiled networks (needs apt)
# Pretrained weights in deploy/weights are baked in (see docs/cluster.md).
#
# A private package index or certificate authority comes in as build secrets, never as layers:
#   --secret id=uv,src=uv.toml --secret id=pip,src=pip.conf --secret id=ca,src=ca.pem
ARG BASE=docker.io/library/python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

FROM ${BASE} AS dependencies
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY requirements-uv.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet --require-hashes -r requirements-uv.lock \
 && /opt/uv/bin/uv venv --python "$(command -v python3)" /opt/venv
COPY pyproject.toml requirements.lock ./
# `requirements.lock` pins everything for every extra with hashes; as a constraint it gives the image's smaller
# set the same versions, and uv verifies the hashes of what it installs.
# What the steps import. Not dvc and its 63 packages: fetch reads DVC versions without it.
ARG EXTRAS="fid mlflow s3 heif tiff serve"
ARG TORCH_INDEX=""
# A step runs as a user who can't write into the image: without bytecode each would compile torch again.
ENV UV_COMPILE_BYTECODE=1
RUN --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    set -eu; extras=""; for extra in ${EXTRAS}; do extras="$extras --extra $extra"; done; \
    if [ -n "${TORCH_INDEX}" ]; then \
      # The CPU builds carry other hashes and want none of the CUDA wheels: same versions, from that index.
      torch="$(sed -nE 's/^(torch|torchvision)==([^ ;]+).*/\1==\2/p' requirements.lock)"; \
      awk '/^[a-z0-9]/ {drop = /^(torch|torchvision|triton|nvidia-|cuda-)/ && !/^nvidia-ml-py/} !drop' \
        requirements.lock > constraints.txt; \
      /opt/uv/bin/uv pip install --python /opt/venv/bin/python --index "${TORCH_INDEX}" $torch; \
    else cp requirements.lock constraints.txt; fi; \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --constraint constraints.txt $extras -r pyproject.toml; \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --constraint constraints.txt --no-deps kfp

FROM dependencies AS wheel
COPY README.md LICENSE ./
COPY cyclegan cyclegan
RUN --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv build --quiet --wheel --build-constraints requirements-uv.lock --require-hashes --out-dir /dist \
 && /opt/uv/bin/uv pip install --quiet --no-index --no-deps --python /opt/venv/bin/python --prefix /package /dist/*.whl

FROM ${BASE} AS final
# For training with compiled networks on GPUs, COMPILER="gcc libc6-dev": Triton then wants a C compiler and
# Python's headers at run time. Without it there are no build tools in the image, and training is slower.
ARG COMPILER=""
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    set -eu; if [ -n "${COMPILER}" ]; then \
      include="$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')"; \
      headers=""; [ -e "$include/Python.h" ] || headers=python3-dev; \
      apt-get update -qq; apt-get install -y -qq --no-install-recommends ${COMPILER} $headers >/dev/null; \
      rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=dependencies /opt/venv /opt/venv
# Any user id must be able to run it (OpenShift picks one): HOME, caches and working folder are open to all.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    LOGNAME=cyclegan \
    XDG_CACHE_HOME=/tmp/.cache \
    TORCH_HOME=/opt/weights \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GIT_PYTHON_REFRESH=quiet
# Files as torch.hub lays them out: hub/checkpoints/NAME. Steps that find a file there download nothing.
COPY deploy/weights /opt/weights/
RUN mkdir -p -m 1777 /workspace && mkdir -p /opt/weights/hub/checkpoints && chmod -R a+rX /opt/weights \
 && chmod 1777 /opt/weights/hub/checkpoints
# Last, since it changes with every commit: the package alone, a layer of a few hundred kilobytes. Copied rather
# than installed from a mount, since podman's cache does not look into mounts and would keep the former code.
COPY --from=wheel /package /opt/venv
WORKDIR /workspace
USER 1000:0
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="cyclegan-pipeline" \
      org.opencontainers.image.description="Unpaired image-to-image translation (CycleGAN): the steps of the pipeline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The revision also reaches MLflow's tags: the image carries no git.
ENV GIT_COMMIT=${REVISION}
CMD ["cyclegan", "--help"]
