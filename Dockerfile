# Two stages: the first installs what uv.lock says, the second has no uv, no pip cache, and no rights.
#
#     docker build -t omni-orchestrator .
#     docker run --rm omni-orchestrator                                              applies the quickstart, exits with 0
#     docker run --rm -v "$PWD/manifests:/app/manifests:ro" omni-orchestrator runner plan manifests/
#
# tests/acceptance/test_dockerfile.py runs the RUN and CMD lines in a clean folder; no engine has built it there.

FROM python:3.11-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --quiet --no-cache-dir "uv>=0.9,<1"
# Dependencies first: this layer is built again only when the lock changes.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --locked --no-dev --no-install-project
COPY . .
RUN /opt/uv/bin/uv sync --locked --no-dev --no-editable

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 ares
WORKDIR /app
COPY --from=build --chown=ares:ares /app /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
# WORKDIR made /app as root; state and reports are written into it. A volume at .ares begins as this folder is.
RUN mkdir -m 700 .ares
RUN chown ares:ares /app .ares
USER ares
CMD ["runner", "apply", "manifests/"]
