# syntax=docker/dockerfile:1

# Outpost in a container: no shell, no package manager, no root, nothing written but to its volume.
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" -t outpost .
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges -v outpost:/var/lib/outpost \
#     -e BROKER_TOKEN -e CR_TYPE … -p 7341:7341 outpost

ARG DENO_VERSION=2.9.6

# Fetches the packages that deno.lock names, checks their hashes, and joins them with the sources (tools/build.ts): a third
# less memory than from the sources on files that cannot be written, and no cache to ship.
FROM denoland/deno:${DENO_VERSION} AS build
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1
WORKDIR /app
COPY deno.json deno.lock mod.ts ./
COPY src ./src
COPY tools ./tools
# deno.json freezes the lock: a package that is not in it fails the build. Tests stay out of the image.
RUN find src -name '*_test.ts' -delete && find src -name '*_suite.ts' -delete && deno cache --frozen mod.ts src/registries/aws_ecr.ts && deno run -A tools/build.ts dist
# Readable by any user, writable by none.
RUN chmod -R a-w,a+rX dist
RUN mkdir /data

FROM denoland/deno:distroless-${DENO_VERSION}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Outpost" \
      org.opencontainers.image.description="Connects private container registries to Snyk: broker client and registry agent in one process" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# One arena of memory: what one thread frees another can use. Buffers go back to the system when they are freed: among small
# pieces that stay they would keep megabytes resident (docs/adr/013).
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 NO_COLOR=1 \
    MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=16384 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_TOP_PAD_=4096
# Accepted scans, results and facts of layers: the one place that is written. Mount a volume that outlives the container.
ENV OUTPOST_DATA_DIR=/var/lib/outpost
WORKDIR /app
COPY --from=build /app/dist /app
COPY --from=build --chown=65532:65532 /data /var/lib/outpost
VOLUME /var/lib/outpost
# The number of distroless' "nonroot": Kubernetes' runAsNonRoot can only judge numbers.
USER 65532:65532
EXPOSE 7341
STOPSIGNAL SIGTERM
# Outpost asks itself: the image holds no curl and no shell.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["deno", "run", "--cached-only", "--no-code-cache", "-P=daemon", "outpost.js", "systemcheck", "--live"]
# A young generation of 1 MB: layers pass through short-lived buffers, and V8 would let 48 MB of them pile up. Without V8's last
# compiler, and with its collector at hand: docs/adr/013.
ENTRYPOINT ["deno", "run", "--cached-only", "--no-code-cache", "--v8-flags=--max-semi-space-size=1,--no-turbofan,--invocation-count-for-maglev=1000,--expose-gc", "-P=daemon", "outpost.js"]
CMD ["start"]
