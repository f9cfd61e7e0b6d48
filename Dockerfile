ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /venv
COPY docker/requirements.txt /tmp/requirements.txt
# Remove files that are never used, a fifth of the size. libonnxruntime.so is only for C programs.
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt \
 && /venv/bin/python -m pip uninstall --yes pip setuptools \
 && cd /venv/lib/python3*/site-packages \
 && rm -rf onnxruntime/transformers onnxruntime/tools onnxruntime/quantization onnxruntime/datasets \
    onnxruntime/capi/libonnxruntime.so.* numpy/f2py numpy/distutils \
    google/api google/cloud google/gapic google/logging google/longrunning google/rpc google/type \
 && find . -type d -name tests -prune -exec rm -r {} + \
 && find cv2/data -name '*.xml' ! -name haarcascade_frontalface_default.xml -delete

FROM ${BASE_IMAGE}
# Remove setuid bits and tools that only an intruder needs: package managers, Perl, a second shell. sh
# stays for `docker exec` and ECS Exec, and the package lists stay for scanners.
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && rm -rf /usr/bin/apt* /usr/bin/dpkg* /usr/bin/perl* /bin/bash /bin/rbash \
    /usr/bin/pip* /usr/lib/python3*/dist-packages/pip \
    /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip \
    /usr/local/lib/python3*/ensurepip /usr/lib/python3*/ensurepip
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin mask
COPY --from=build /venv /venv
WORKDIR /app
COPY model model
COPY service service
COPY docker docker
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    HOST=0.0.0.0 \
    PORT=8000
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python3", "docker/healthcheck.py"]
CMD ["python3", "-m", "gunicorn", "-c", "docker/gunicorn.conf.py"]
