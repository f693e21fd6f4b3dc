import type { AppName } from '../domain/app.ts';
import type { Measurement } from '../domain/measurement.ts';
import type { ServiceName } from '../domain/service.ts';
import { prefix } from './redis.ts';

/** The names of everything we keep in Redis, in one place because the scripts touch several of them at once. */
export const keys = {
  meta: `${prefix}:meta`,
  /** Of the process that brings the store to a newer schema. */
  migration: `${prefix}:migration`,
  apps: `${prefix}:apps`,
  /** Apps of a restored backup whose containers may not be there, each with what was done about it. */
  restored: `${prefix}:restored`,
  app: (app: AppName) => `${prefix}:app:${app}`,
  /** Volumes an app had and may have again: their data are still there. */
  detachedVolumes: (app: AppName) => `${prefix}:detached-volumes:${app}`,
  /** `app.volume` whose data are to be deleted once nothing uses them. */
  doomedVolumes: `${prefix}:doomed-volumes`,
  env: (app: AppName) => `${prefix}:env:${app}`,
  /** Host of a registry to the app's login there. */
  imageLogins: (app: AppName) => `${prefix}:image-logins:${app}`,
  deployment: (app: AppName, number: number) => `${prefix}:dep:${app}:${number}`,
  release: (app: AppName, number: number) => `${prefix}:release:${app}:${number}`,
  releases: (app: AppName) => `${prefix}:releases:${app}`,
  /** Remembers which deployment a push made, so that a repeated script makes no second one. */
  request: (id: string) => `${prefix}:request:${id}`,
  lease: (app: AppName) => `${prefix}:lease:${app}`,
  log: (app: AppName, number: number) => `${prefix}:log:${app}:${number}`,
  task: (app: AppName, number: number) => `${prefix}:task:${app}:${number}`,
  tasks: (app: AppName) => `${prefix}:tasks:${app}`,
  /** `app.number` of every task that is not over. */
  openTasks: `${prefix}:open-tasks`,
  taskLog: (app: AppName, number: number) => `${prefix}:task-log:${app}:${number}`,
  /** Of the worker that collects the logs of the apps. */
  collector: `${prefix}:log-collector`,
  /** What a worker answered. */
  instances: (id: string) => `${prefix}:instances:${id}`,
  /** A channel, of what one of the two says. */
  terminal: (id: string, who: 'person' | 'command') => `${prefix}:terminal:${id}:${who}`,
  route: (app: AppName) => `${prefix}:route:${app}`,
  routeVersion: `${prefix}:route-version`,
  routers: `${prefix}:routers`,
  router: (id: string) => `${prefix}:router:${id}`,
  routerAlive: (id: string) => `${prefix}:router:${id}:alive`,
  /** Names of all services. */
  services: `${prefix}:services`,
  service: (service: ServiceName) => `${prefix}:service:${service}`,
  /** Of the worker that is at it. */
  serviceTurn: (service: ServiceName) => `${prefix}:service-turn:${service}`,
  /** App to what is known of its binding. */
  serviceBindings: (service: ServiceName) => `${prefix}:service-bindings:${service}`,
  /** Host name, with a path or without, to app. */
  domains: `${prefix}:domains`,
  /** `source destination protocol port endPort`. */
  networkPolicies: `${prefix}:network-policies`,
  /** Apps whose containers may have connections through gates. */
  gated: `${prefix}:gated`,
  /** Of the worker that looks after the gates. */
  gateKeeper: `${prefix}:gate-keeper`,
  /** App to public port. */
  tcpPorts: `${prefix}:tcp-ports`,
  subnets: `${prefix}:subnets`,
  tokens: `${prefix}:tokens`,
  /** Token id to when it was last used. */
  tokenUses: `${prefix}:token-uses`,
  audit: `${prefix}:audit`,
  webhook: (app: AppName) => `${prefix}:webhook:${app}`,
  /** Id of a delivery to what became of it. */
  deliveries: (app: AppName) => `${prefix}:deliveries:${app}`,
  /** Ids of deliveries, the newest first. */
  deliveryIds: (app: AppName) => `${prefix}:delivery-ids:${app}`,
  /** Outlives the delivery itself: one that comes again is not taken twice. */
  deliverySeen: (app: AppName, id: string) => `${prefix}:delivery-seen:${app}:${id}`,
  /** A stream of changes of deployments that have still to be told to the outside. */
  outbox: `${prefix}:outbox`,
  /** How often each container that serves was seen to have ended by itself, and when that was last news. */
  health: (app: AppName) => `${prefix}:health:${app}`,
  /** Ids of outgoing webhooks; the scope is an app, or `*` for all of them. */
  outgoing: (scope: string) => `${prefix}:outgoing:${scope}`,
  outgoingWebhook: (scope: string, id: string) => `${prefix}:outgoing:${scope}:${id}`,
  /** Id of a notice to the notice. */
  notices: (scope: string, id: string) => `${prefix}:notices:${scope}:${id}`,
  /** Ids of notices, the newest first. */
  noticeIds: (scope: string, id: string) => `${prefix}:notice-ids:${scope}:${id}`,
  /** What was answered to a request with an `Idempotency-Key`. */
  answer: (hash: string) => `${prefix}:answer:${hash}`,
  /** One channel for hints that save a poll; losing a message costs time, never correctness. */
  channel: `${prefix}:events`,
  bull: `${prefix}:bull`,
} as const;

/** What is said on the channel. */
export type StoreEvent =
  /** A deployment was superseded or cancelled: whoever runs the app looks again. */
  | { kind: 'stop'; app: AppName }
  | { kind: 'route'; app: AppName; version: number }
  /** Who may reach the app changed. */
  | { kind: 'policy'; app: AppName }
  | { kind: 'applied'; app: AppName; version: number }
  | { kind: 'drained'; app: AppName; container: string }
  | { kind: 'ended'; app: AppName; number: number }
  /** Nothing of an app that is deleted is on the engine any more. */
  | { kind: 'emptied'; app: AppName }
  /** There is something in the outbox. */
  | { kind: 'announced' }
  /** A container is about to be removed: what it printed is to be read to its end. */
  | { kind: 'collect'; container: string }
  | { kind: 'collected'; container: string }
  /** Something about a service is not as it was. */
  | { kind: 'service'; service: ServiceName }
  | { kind: 'instances asked'; app: AppName; id: string }
  | { kind: 'instances told'; id: string }
  | ({ kind: 'measured' } & Measurement)
  /** A token was taken back. */
  | { kind: 'revoked' }
  /** A task is to end. */
  | { kind: 'task'; app: AppName; number: number };
