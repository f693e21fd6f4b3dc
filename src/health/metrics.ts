import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Deployment } from '../domain/deployment.ts';
import { type Measurement, reconcileActions } from '../domain/measurement.ts';

export type MetricsSources = {
  version: string;
  /** The deployment each app should have next or has in work, settled or not. */
  desired: () => Promise<Deployment[]>;
  workers: () => Promise<number>;
  lastBackup: () => Promise<Date | undefined>;
  freeBytes: () => Promise<number>;
  /** What the router answered to visitors of apps, by kind of status. */
  responses: () => Promise<Readonly<Record<string, number>>>;
  /** Means of what it took lately, in seconds. */
  requestTimes: () => Promise<{ firstByte: number; lastByte: number } | undefined>;
};

const prefix = 'gantry_';
const durations = [0.5, 1, 2, 5, 10, 20, 60, 120, 300, 900, 1800];
const stepDurations = [0.01, 0.05, 0.1, ...durations];
const pushSizes = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 5e8];

/** What Prometheus is told. No app is named, so that there are as many numbers with a thousand apps as with one. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #deploys: Counter<'result' | 'trigger'>;
  readonly #duration: Histogram<'result'>;
  readonly #wait: Histogram;
  readonly #deliveries: Counter<'provider' | 'verdict'>;
  readonly #notices: Counter<'format' | 'verdict'>;
  readonly #authFailures: Counter<'kind'>;
  readonly #steps: Histogram<'step'>;
  readonly #pushBytes: Histogram;
  readonly #swapFailures: Counter;
  readonly #restarts: Counter;
  readonly #heartbeat: Gauge;
  readonly #actions: Counter<'action'>;
  readonly #droppedLines: Counter;
  readonly #freeBytes: Gauge<'area'>;

  constructor({ version, desired, workers, lastBackup, freeBytes, responses, requestTimes }: MetricsSources) {
    const registers = [this.#registry];
    const gauge = (name: string, help: string, read: () => Promise<number>): void => {
      new Gauge({
        name: prefix + name,
        help,
        registers,
        // Something that cannot be asked now has no number; the others do.
        async collect() {
          this.set(await read().catch(() => Number.NaN));
        },
      });
    };
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({ name: `${prefix}build_info`, help: 'The version.', labelNames: ['version'], registers })
      .labels(version)
      .set(1);
    this.#deploys = new Counter({
      name: `${prefix}deploys_total`,
      help: 'Deployments that ended since this server started.',
      labelNames: ['result', 'trigger'],
      registers,
    });
    this.#duration = new Histogram({
      name: `${prefix}deploy_duration_seconds`,
      help: 'From the first work on a deployment to its end.',
      labelNames: ['result'],
      buckets: durations,
      registers,
    });
    this.#wait = new Histogram({
      name: `${prefix}queue_wait_seconds`,
      help: 'From when a deployment was asked for to the first work on it.',
      buckets: durations,
      registers,
    });
    this.#deliveries = new Counter({
      name: `${prefix}webhook_deliveries_total`,
      help: 'What forges said, and what became of it.',
      labelNames: ['provider', 'verdict'],
      registers,
    });
    this.#notices = new Counter({
      name: `${prefix}webhook_events_sent_total`,
      help: 'Attempts to tell the outside about a deployment, and how they went.',
      labelNames: ['format', 'verdict'],
      registers,
    });
    this.#authFailures = new Counter({
      name: `${prefix}auth_failures_total`,
      help: 'Wrong tokens, and tries that came too soon after one.',
      labelNames: ['kind'],
      registers,
    });
    this.#steps = new Histogram({
      name: `${prefix}deploy_step_duration_seconds`,
      help: 'How long the steps of deployments took that were gone through, however they ended.',
      labelNames: ['step'],
      buckets: stepDurations,
      registers,
    });
    this.#pushBytes = new Histogram({
      name: `${prefix}push_bytes`,
      help: 'How large pushes were, as they were sent.',
      buckets: pushSizes,
      registers,
    });
    const counter = (name: string, help: string): Counter =>
      new Counter({ name: prefix + name, help, registers });
    this.#swapFailures = counter(
      'swap_failed_requests_total',
      'Requests without a whole answer of their app while one of its releases took over from another.',
    );
    this.#restarts = counter(
      'container_restarts_total',
      'Containers of apps that ended by themselves and were started again.',
    );
    this.#droppedLines = counter(
      'log_lines_dropped_total',
      'Lines that apps and builds printed and that were not kept, as far as they could be counted.',
    );
    this.#heartbeat = new Gauge({
      name: `${prefix}worker_heartbeat_timestamp_seconds`,
      help: 'When a worker was last heard to look after its queue; 0: not since this server started.',
      registers,
    });
    this.#actions = new Counter({
      name: `${prefix}reconcile_actions_total`,
      help: 'What workers did to leftovers: of replaced releases, and of what died.',
      labelNames: ['action'],
      registers,
    });
    for (const action of reconcileActions) this.#actions.inc({ action }, 0);
    this.#freeBytes = new Gauge({
      name: `${prefix}disk_free_bytes`,
      help: 'Room left for the data of the server, and for the images of the engine as its worker sees it.',
      labelNames: ['area'],
      registers,
      async collect() {
        this.set({ area: 'data' }, await freeBytes().catch(() => Number.NaN));
      },
    });
    new Gauge({
      name: `${prefix}router_request_duration_seconds`,
      help: 'A mean over the last requests to apps, from a request to the first or the last byte of its answer.',
      labelNames: ['until'],
      registers,
      async collect() {
        const times = await requestTimes().catch(() => undefined);
        this.reset();
        if (!times) return;
        this.set({ until: 'first_byte' }, times.firstByte);
        this.set({ until: 'last_byte' }, times.lastByte);
      },
    });
    new Counter({
      name: `${prefix}router_requests_total`,
      help: 'Answers to visitors of apps since the router was last reloaded.',
      labelNames: ['code'],
      registers,
      async collect() {
        const counts = await responses().catch(() => ({}));
        this.reset();
        for (const [code, count] of Object.entries(counts)) this.inc({ code }, count);
      },
    });
    const inState = async (state: string): Promise<Deployment[]> =>
      (await desired()).filter((deployment) => deployment.state === state);
    gauge('deploys_in_progress', 'Deployments in work.', async () => (await inState('running')).length);
    gauge('queue_depth', 'Deployments that wait.', async () => (await inState('queued')).length);
    gauge('queue_oldest_seconds', 'How long the oldest of them has waited.', async () => {
      const waits = (await inState('queued')).map(({ createdAt }) => Date.now() - createdAt.getTime());
      return Math.max(0, ...waits) / 1000;
    });
    gauge('workers', 'Workers that take deployments.', workers);
    gauge('backup_timestamp_seconds', 'When the store was last backed up; 0: never.', async () => {
      const at = await lastBackup();
      return (at?.getTime() ?? 0) / 1000;
    });
  }

  deploymentEnded({ state, trigger, createdAt, startedAt, endedAt }: Deployment): void {
    this.#deploys.inc({ result: state, trigger });
    if (!startedAt) return;
    this.#wait.observe(secondsBetween(createdAt, startedAt));
    if (endedAt) this.#duration.observe({ result: state }, secondsBetween(startedAt, endedAt));
  }

  delivered(provider: string, verdict: string): void {
    this.#deliveries.inc({ provider, verdict });
  }

  eventSent(format: string, verdict: 'delivered' | 'failed'): void {
    this.#notices.inc({ format, verdict });
  }

  authFailed(kind: 'git' | 'api'): void {
    this.#authFailures.inc({ kind });
  }

  pushed(bytes: number): void {
    this.#pushBytes.observe(bytes);
  }

  failedInSwap(requests: number): void {
    this.#swapFailures.inc(requests);
  }

  measured({ name, value, label = '' }: Measurement): void {
    switch (name) {
      case 'deploy_step_duration_seconds':
        return this.#steps.observe({ step: label }, value);
      case 'container_restarts_total':
        return this.#restarts.inc(value);
      case 'log_lines_dropped_total':
        return this.#droppedLines.inc(value);
      case 'worker_heartbeat_timestamp_seconds':
        return this.#heartbeat.set(value);
      case 'reconcile_actions_total':
        return this.#actions.inc({ action: label }, value);
      case 'disk_free_bytes':
        return this.#freeBytes.set({ area: label }, value);
    }
  }

  /** In the text format of Prometheus, of this type. */
  async text(): Promise<{ type: string; text: string }> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}

function secondsBetween(from: Date, to: Date): number {
  return Math.max(0, to.getTime() - from.getTime()) / 1000;
}
