import type { IncomingMessage } from 'node:http';
import type { Redis } from 'ioredis';
import type { Authenticate } from '../access/authenticator.ts';
import type { Config, dataPaths } from '../config.ts';
import type { RecordAudit } from '../domain/audit.ts';
import type { Metrics } from '../health/metrics.ts';
import type { Logger } from '../logger.ts';
import type { DeployQueue } from '../queue/deploy-queue.ts';
import type { Connections } from '../store/connections.ts';
import type { LogReader } from '../store/log-reader.ts';
import type { Sealer } from '../store/sealing.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { ServerStores } from './stores.ts';

/** What every part of the server is made with. */
export type ServerContext = {
  config: Config;
  paths: ReturnType<typeof dataPaths>;
  connections: Connections;
  /** For answering people; see `hastyRedis`. */
  hasty: Redis;
  sealer: Sealer;
  stores: ServerStores;
  queue: DeployQueue;
  events: StoreEvents;
  logs: LogReader;
  metrics: Metrics;
  authenticate: Authenticate;
  /** Whose request it is, behind the proxies that are trusted. */
  addressOf: (request: IncomingMessage) => string;
  recordAudit: RecordAudit;
  logger: Logger;
};
