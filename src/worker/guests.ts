import type { Redis } from 'ioredis';
import { type Config, dataPaths } from '../config.ts';
import { freeAddress, subnetAt, subnetIndex } from '../deploy/container-spec.ts';
import type { DockerodeEngine } from '../docker/dockerode-engine.ts';
import { planGates } from '../domain/gate.ts';
import { gateImage } from '../gates/gate-image.ts';
import { GateKeeper } from '../gates/gate-keeper.ts';
import type { Logger } from '../logger.ts';
import { ServiceKeeper } from '../queue/service-keeper.ts';
import { keys } from '../store/keys.ts';
import type { StoreEvents } from '../store/store-events.ts';
import { TurnStore } from '../store/turn-store.ts';
import type { WorkerStores } from './stores.ts';

/** A database makes its files when it starts for the first time, and writes them out when it stops. */
const serviceReadyMs = 120_000;
const serviceGraceMs = 30_000;

/** Gates are given the last address of an app's network first, then those from the beginning. */
const firstGateAddress = 12;

type Parts = {
  config: Config;
  redis: Redis;
  engine: DockerodeEngine;
  storeId: string;
  stores: WorkerStores;
  events: StoreEvents;
  logger: Logger;
};

/** What is in the networks of apps beside them: gates to internal routes. */
export function gateKeeper({ config, redis, engine, storeId, stores, events, logger }: Parts): GateKeeper {
  const { deletions, domains, policies, routes, assertOwnStore } = stores;
  const storeTag = storeId.slice(0, 6);
  return new GateKeeper({
    engine,
    storeId,
    storeTag,
    turns: new TurnStore(redis, keys.gateKeeper),
    events,
    routes,
    wishes: async () => {
      const [all, names] = await Promise.all([policies.list(), domains.internal()]);
      const apps = [...new Set(all.flatMap(({ source, destination }) => [source, destination]))];
      const going = await Promise.all(apps.map(async (app) => (await deletions.get(app)) && app));
      const staying = all.filter((one) => !going.includes(one.source) && !going.includes(one.destination));
      return planGates(staying, names);
    },
    assertOwnStore,
    image: () => gateImage(storeTag),
    freeAddress: (subnet, taken) => freeAddress(subnet, taken, firstGateAddress),
    drainTimeoutMs: config.drainTimeoutMs,
    logger,
  });
}

/** And services that run here. */
export function serviceKeeper({
  config,
  redis,
  engine,
  storeId,
  stores,
  events,
  logger,
}: Parts): ServiceKeeper {
  const { services, assertOwnStore } = stores;
  return new ServiceKeeper({
    services,
    tools: {
      engine,
      storeId,
      storeTag: storeId.slice(0, 6),
      allocateSubnet: async (service, taken) =>
        subnetAt(config.subnets, await services.subnetIndex(service, taken.map(subnetIndex))),
      limits: {
        readyMs: Math.max(config.healthTimeoutMs, serviceReadyMs),
        pullMs: config.buildTimeoutMs,
        graceMs: Math.max(config.stopTimeoutMs, serviceGraceMs),
        memoryBytes: config.appMemoryBytes,
        diskFloorBytes: config.diskFloorBytes,
      },
    },
    copies: dataPaths(config.dataDir).serviceCopies,
    assertOwnStore,
    turnOf: (service) => new TurnStore(redis, keys.serviceTurn(service)),
    events,
    logger,
  });
}
