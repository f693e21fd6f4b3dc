# The images of docker-compose.yml. There is nothing secret in them.
#   docker build --tag gantry .                  server, worker and command line
#   docker build --target haproxy --tag router . HAProxy alone
ARG NODE_VERSION=20

# The router has an image of its own, so that a new Gantry does not restart it. The server is made from it: both have the
# same HAProxy, and what the one finds right in a configuration the other can start with.
FROM node:${NODE_VERSION}-bookworm-slim AS haproxy
RUN apt-get update \
  && apt-get install --yes --no-install-recommends haproxy \
  && rm -rf /var/lib/apt/lists/*
CMD ["haproxy", "-v"]

FROM node:${NODE_VERSION}-bookworm-slim AS build
WORKDIR /gantry
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM haproxy
# Hooks of apps (CC_PRE_BUILD_HOOK...) run in this image: whatever they call has to be installed here.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates git mount openssh-client util-linux \
  && rm -rf /var/lib/apt/lists/* \
  # A number that no group of the host has: the group of the mounted Docker socket must not be the one of hooks.
  && groupadd --gid 59213 gantry-hook \
  && useradd --uid 59213 --gid 59213 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gantry-hook
WORKDIR /gantry
COPY --from=build /gantry/node_modules node_modules
COPY --from=build /gantry/dist dist
COPY package.json ./
COPY bin/gantry bin/gantry
COPY hooks hooks
RUN ln -s /gantry/bin/gantry /usr/local/bin/gantry
ENV NODE_ENV=production GANTRY_DATA=/data
ENTRYPOINT ["gantry"]
CMD ["--help"]
