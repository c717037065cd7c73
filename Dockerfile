# One image for agent, runtime and controller: `docker build -t wasm-node .`
#
# Small because the last stage gets one virtual environment and nothing else:
# no pip, no compiler, and of the Kubernetes client, whose generated models are
# three quarters of all bytes, bytecode only for what is imported at start.
#
#   BASE_IMAGE  any image with Python 3.11 or newer, its venv, and CA
#               certificates; every stage with Python in it uses the same
#   RUST_IMAGE  any image with cargo, of the version that agent/engine names,
#               and a C compiler, whose C library is no newer than the base's
#   PIP_ARGS    more for pip, such as "--no-index --find-links /wheelhouse"
#   VERSION, REVISION, CREATED  what the labels say
#
# The native engine takes a quarter of an hour to build. Where its wheel is
# at hand, `--build-context engine=DIRECTORY` stands in for that stage.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM ${BASE_IMAGE} AS tools
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/wasm-node
COPY requirements-image.lock ./
ARG PIP_ARGS=""
RUN /build/bin/pip download --quiet --no-cache-dir --require-hashes --only-binary :all: \
      --dest /wheels ${PIP_ARGS} --requirement requirements-image.lock \
 && /build/bin/pip install --quiet --no-index --find-links /wheels hatchling maturin

FROM ${RUST_IMAGE} AS engine-build
WORKDIR /src
COPY --from=tools /build/bin/maturin /usr/local/bin/
COPY agent/engine ./
RUN maturin build --release --locked --quiet --out /wheel

# The wheel alone, so that a directory of nothing else can stand in.
FROM scratch AS engine
COPY --from=engine-build /wheel/ /

FROM tools AS build
# Dependencies before sources: their layer changes with the lock file only.
COPY pyproject.toml ./
RUN python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > dependencies \
 && /build/bin/pip --python /opt/wasm-node/bin/python install --quiet --no-compile \
      --no-index --find-links /wheels --requirement dependencies \
 && /opt/wasm-node/bin/python -m compileall -q -x /kubernetes/ /opt/wasm-node/lib \
 && /opt/wasm-node/bin/python -c 'import kubernetes.aio.client, kubernetes.aio.config'
COPY README.md LICENSE ./
COPY agent/wasm_node agent/wasm_node
COPY --from=engine / /wheel/
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /build/bin/pip --python /opt/wasm-node/bin/python install --quiet --no-index --no-deps \
      --root /project /wheel/*.whl

FROM ${BASE_IMAGE}
COPY --from=build /opt/wasm-node /opt/wasm-node
COPY --from=build /project/opt/wasm-node /opt/wasm-node
# The root file system is read-only where this runs: there is no bytecode to write.
ENV PATH=/opt/wasm-node/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# The chart gives the runtime root and a few capabilities; all else needs neither.
USER 64000:64000
WORKDIR /
ENTRYPOINT ["wasm-node"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="wasm-node" \
      org.opencontainers.image.description="A Kubernetes node that runs plain Pods as WebAssembly" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
