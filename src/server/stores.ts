import type { Redis } from 'ioredis';
import { AnswerStore } from '../store/answer-store.ts';
import { AppDeletions } from '../store/app-deletions.ts';
import { AppStore } from '../store/app-store.ts';
import { AuditLog } from '../store/audit-log.ts';
import { DeploymentStore } from '../store/deployment-store.ts';
import { DomainStore } from '../store/domain-store.ts';
import { NetworkPolicyStore } from '../store/network-policy-store.ts';
import { Outbox } from '../store/outbox.ts';
import { OutgoingStore } from '../store/outgoing-store.ts';
import { ReleaseStore } from '../store/release-store.ts';
import { RouteStore } from '../store/route-store.ts';
import type { Sealer } from '../store/sealing.ts';
import { ServiceStore } from '../store/service-store.ts';
import { TaskStore } from '../store/task-store.ts';
import { TcpPortStore } from '../store/tcp-port-store.ts';
import { TokenStore } from '../store/token-store.ts';
import { VolumeStore } from '../store/volume-store.ts';
import { WebhookStore } from '../store/webhook-store.ts';

export type ServerStores = ReturnType<typeof openStores>;

/** What people wait for fails fast when Redis is away; what works in the background waits for it. */
export function openStores(hasty: Redis, patient: Redis, sealer: Sealer) {
  return {
    answers: new AnswerStore(hasty, sealer),
    apps: new AppStore(hasty, sealer),
    audit: new AuditLog(hasty),
    deletions: new AppDeletions(hasty),
    deployments: new DeploymentStore(hasty),
    domains: new DomainStore(hasty),
    outgoing: new OutgoingStore(hasty, sealer),
    policies: new NetworkPolicyStore(hasty),
    releases: new ReleaseStore(hasty),
    routes: new RouteStore(hasty),
    services: new ServiceStore(hasty, sealer),
    tasks: new TaskStore(hasty, sealer),
    tcpPorts: new TcpPortStore(hasty),
    tokens: new TokenStore(hasty),
    volumes: new VolumeStore(hasty),
    webhooks: new WebhookStore(hasty, sealer),
    background: {
      apps: new AppStore(patient, sealer),
      deletions: new AppDeletions(patient),
      deployments: new DeploymentStore(patient),
      outbox: new Outbox(patient),
      outgoing: new OutgoingStore(patient, sealer),
      routes: new RouteStore(patient),
      volumes: new VolumeStore(patient),
    },
  };
}
