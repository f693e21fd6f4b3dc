import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Deployment } from '../domain/deployment.ts';

export type MetricsSources = {
  version: string;
  /** The deployment each app should have next or has in work, settled or not. */
  desired: () => Promise<Deployment[]>;
  workers: () => Promise<number>;
  freeBytes: () => Promise<number>;
  /** What the router answered to visitors of apps, by kind of status. */
  responses: () => Promise<Readonly<Record<string, number>>>;
};

const prefix = 'gantry_';
const durations = [0.5, 1, 2, 5, 10, 20, 60, 120, 300, 900, 1800];

/** What Prometheus is told. No app is named, so that there are as many numbers with a thousand apps as with one. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #deploys: Counter<'result' | 'trigger'>;
  readonly #duration: Histogram<'result'>;
  readonly #wait: Histogram;
  readonly #deliveries: Counter<'provider' | 'verdict'>;
  readonly #notices: Counter<'format' | 'verdict'>;
  readonly #authFailures: Counter<'kind'>;

  constructor({ version, desired, workers, freeBytes, responses }: MetricsSources) {
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
    gauge('disk_free_bytes', 'Room left where the data are.', freeBytes);
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

  /** In the text format of Prometheus, of this type. */
  async text(): Promise<{ type: string; text: string }> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}

function secondsBetween(from: Date, to: Date): number {
  return Math.max(0, to.getTime() - from.getTime()) / 1000;
}
