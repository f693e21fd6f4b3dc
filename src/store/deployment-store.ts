import type { Redis } from 'ioredis';
import type { AppName, CommitSha } from '../domain/app.ts';
import { readAppOptions } from '../domain/app-options.ts';
import type { CronEntry } from '../domain/cron-file.ts';
import type { Crash, Deployment, DeploymentState, Step, Trigger } from '../domain/deployment.ts';
import type { EnvChanges } from '../domain/env-changes.ts';
import { explainDeleted } from './app-deletions.ts';
import {
  cancelScript,
  claimScript,
  crashScript,
  endRestoredScript,
  finishScript,
  handBackScript,
  requestScript,
  skipScript,
  stopScript,
} from './deployment-scripts.ts';
import { keys } from './keys.ts';
import { parseSealedEnv } from './sealed-env.ts';

/** A new deployment as a push or a person asks for it. */
export type DeploymentRequest = Pick<
  Deployment,
  'app' | 'trigger' | 'commit' | 'pull' | 'subject' | 'branch' | 'oldSha' | 'by' | 'noCache' | 'image'
> & {
  /** Its variables and options instead of those of now: the release that is gone back to. */
  rollbackTo?: number;
  /** The same for one that is made once more. */
  asRelease?: number;
  /** Of the live release, which this is to replace unless somebody asked for another one since. */
  crash?: Crash & { of: number };
  /** Random, made by the asker: asking twice with one id makes one deployment. */
  requestId: string;
};

/**
 * Deployments and the hand-over of them between processes. Every change is one Lua script, and every script may run
 * twice with the same input: ioredis sends a command again when its answer was lost in a reconnect.
 */
export class DeploymentStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * Makes the deployment the one the app should have, superseding an older one that still waits.
   * When the same commit or digest is already on its way, nothing is made and that one is returned with `attached`.
   * Going back to a release that is forgotten makes number 0, which is none, and so does a crash that is past.
   */
  async request(request: DeploymentRequest): Promise<{ number: number; attached: boolean }> {
    const { app, requestId, pull, asRelease, crash, ...fields } = request;
    const stored = {
      ...fields,
      pullReference: pull?.reference ?? '',
      pullDigest: pull?.digest ?? '',
      noCache: fields.noCache ? '1' : '',
      image: fields.image ?? '',
      rollbackTo: String(fields.rollbackTo ?? ''),
      crashOf: String(crash?.of ?? ''),
    };
    const release = fields.rollbackTo ?? asRelease;
    const asked = this.#redis.eval(
      requestScript,
      5,
      keys.app(app),
      keys.env(app),
      keys.request(requestId),
      keys.apps,
      keys.release(app, release ?? 0),
      app,
      new Date().toISOString(),
      JSON.stringify(stored),
      keys.deployment(app, 0).slice(0, -1),
      keys.log(app, 0).slice(0, -1),
      keys.channel,
      release === undefined ? '' : '1',
      crash ? JSON.stringify(crash) : '',
      keys.release(app, 0).slice(0, -1),
    );
    const [number, attached] = (await asked.catch(explainDeleted(app))) as [number, number];
    return { number, attached: attached === 1 };
  }

  /** The same for a crash that nothing can be put back after; `outcome` says why. */
  async noteCrash(app: AppName, crash: Crash & { of: number }, outcome: string): Promise<void> {
    await this.#redis.eval(
      crashScript,
      3,
      keys.app(app),
      keys.deployment(app, crash.of),
      keys.release(app, crash.of),
      app,
      JSON.stringify(crash),
      outcome,
      new Date().toISOString(),
      keys.channel,
    );
  }

  /** What was live before the deployment was. */
  async liveBefore(app: AppName, number: number): Promise<number | undefined> {
    const before = await this.#redis.hget(keys.deployment(app, number), 'liveBefore');
    return before ? Number(before) : undefined;
  }

  async get(app: AppName, number: number): Promise<Deployment | undefined> {
    const fields = await this.#redis.hgetall(keys.deployment(app, number));
    return fields.state ? parseDeployment(app, number, fields) : undefined;
  }

  /** The newest ones first, of those with a number below `before`. */
  async list(app: AppName, count: number, before = Number.POSITIVE_INFINITY): Promise<Deployment[]> {
    const newest = Number((await this.#redis.hget(keys.app(app), 'seq')) ?? 0);
    const last = Math.min(newest, before - 1);
    const numbers = Array.from({ length: Math.min(count, last) }, (_, index) => last - index);
    const found = await Promise.all(numbers.map((number) => this.get(app, number)));
    return found.filter((deployment) => deployment !== undefined);
  }

  /**
   * Apps a worker should be on: their desired deployment is not settled, what served was stopped for one that died, or they
   * are to be stopped.
   */
  async unsettled(): Promise<AppName[]> {
    const apps = (await this.#redis.smembers(keys.apps)) as AppName[];
    const open: AppName[] = [];
    for (const app of apps) {
      const [desired, paused, stopping, deleting, emptied] = await this.#redis.hmget(
        keys.app(app),
        'desired',
        'paused',
        'stopping',
        'deleting',
        'emptied',
      );
      if (paused || stopping || (deleting && !emptied)) {
        open.push(app);
        continue;
      }
      const state = desired && (await this.#redis.hget(keys.deployment(app, Number(desired)), 'state'));
      if (state === 'queued' || state === 'running') open.push(app);
    }
    return open;
  }

  /** The deployment the app should have next or has in work, whatever its state. */
  async desired(app: AppName): Promise<Deployment | undefined> {
    const number = await this.#redis.hget(keys.app(app), 'desired');
    return number ? this.get(app, Number(number)) : undefined;
  }

  /**
   * Takes the app's newest unsettled deployment for the holder of `fence`. One that a dead worker left behind and that
   * is not wanted any more becomes superseded; one begun more than `maxRuns` times becomes failed. `undefined`: nothing to do.
   */
  async claim(app: AppName, fence: number, maxRuns: number): Promise<Deployment | undefined> {
    const number = (await this.#redis.eval(
      claimScript,
      1,
      keys.app(app),
      fence,
      new Date().toISOString(),
      keys.deployment(app, 0).slice(0, -1),
      keys.log(app, 0).slice(0, -1),
      keys.channel,
      maxRuns,
    )) as number | null;
    return number === null ? undefined : this.get(app, number);
  }

  /** What the reference of its image turned out to be. Should it begin again, it is the same. */
  async recordDigest(app: AppName, number: number, digest: string): Promise<void> {
    await this.#redis.hset(keys.deployment(app, number), 'pullDigest', digest);
  }

  /** For the release this deployment may make. */
  async recordPublished(app: AppName, number: number, reference: string): Promise<void> {
    await this.#redis.hset(keys.deployment(app, number), 'published', reference);
  }

  /** For the release this deployment may make. */
  async recordCron(app: AppName, number: number, entries: readonly CronEntry[]): Promise<void> {
    await this.#redis.hset(keys.deployment(app, number), 'cron', JSON.stringify(entries));
  }

  /** For the release this deployment may make. */
  async recordEnvChanges(app: AppName, number: number, changes: EnvChanges): Promise<void> {
    await this.#redis.hset(keys.deployment(app, number), 'envChanges', JSON.stringify(changes));
  }

  /** Sealed, what is to be hidden in all its containers print besides its variables. */
  async recordSecrets(app: AppName, number: number, sealed: string): Promise<void> {
    await this.#redis.hset(keys.deployment(app, number), 'secrets', sealed);
  }

  async sealedSecrets(app: AppName, number: number): Promise<string | undefined> {
    return (await this.#redis.hget(keys.deployment(app, number), 'secrets')) ?? undefined;
  }

  /**
   * Makes it the wish that nothing of the app runs, until a deployment asked for later goes live. One that waits or has not
   * begun its switch is cancelled; what serves is for the app's next worker to stop. Returns the cancelled ones.
   */
  async stop(app: AppName, by: string): Promise<number[]> {
    const now = new Date().toISOString();
    return (await this.#redis.eval(
      stopScript,
      1,
      keys.app(app),
      JSON.stringify({ by, at: now }),
      `${app} was stopped by ${by}`,
      now,
      app,
      keys.channel,
      keys.deployment(app, 0).slice(0, -1),
      keys.log(app, 0).slice(0, -1),
    )) as number[];
  }

  /**
   * For a store that was restored: what was under way in it is over. One past its switch is live; any other is cancelled,
   * also one that only waited: nobody expects it to run days later. Returns their numbers.
   */
  async endRestored(app: AppName, reason: string): Promise<number[]> {
    return (await this.#redis.eval(
      endRestoredScript,
      1,
      keys.app(app),
      reason,
      new Date().toISOString(),
      app,
      keys.channel,
      keys.deployment(app, 0).slice(0, -1),
      keys.log(app, 0).slice(0, -1),
    )) as number[];
  }

  /** The next deployment gets a number above this one. */
  async skipNumbers(app: AppName, last: number): Promise<void> {
    await this.#redis.eval(skipScript, 1, keys.app(app), last);
  }

  /** Gives a running deployment back to the queue, as if this worker had not begun it. */
  async handBack(app: AppName, number: number, fence: number): Promise<void> {
    await this.#redis.eval(handBackScript, 2, keys.app(app), keys.deployment(app, number), fence);
  }

  /** Writes how a deployment ended, and the last record of its log. False: somebody else owns the app by now. */
  async finish(
    app: AppName,
    number: number,
    fence: number,
    end: { state: DeploymentState; reason?: string; supersededBy?: number; step?: Step },
  ): Promise<boolean> {
    const done = (await this.#redis.eval(
      finishScript,
      3,
      keys.app(app),
      keys.deployment(app, number),
      keys.log(app, number),
      fence,
      number,
      end.state,
      end.reason ?? '',
      end.supersededBy ?? '',
      new Date().toISOString(),
      app,
      keys.channel,
      end.step ?? '',
    )) as number;
    return done === 1;
  }

  /** A waiting one is cancelled at once; of a running one, whoever runs it is asked to stop, and it cannot go live any more. */
  async cancel(app: AppName, number: number, reason: string): Promise<'cancelled' | 'asked' | 'too late'> {
    return (await this.#redis.eval(
      cancelScript,
      3,
      keys.app(app),
      keys.deployment(app, number),
      keys.log(app, number),
      number,
      reason,
      new Date().toISOString(),
      app,
      keys.channel,
    )) as 'cancelled' | 'asked' | 'too late';
  }

  /** The sealed variables as they were when the deployment was asked for. */
  async sealedEnv(app: AppName, number: number): Promise<Record<string, string>> {
    return parseSealedEnv(await this.#redis.hget(keys.deployment(app, number), 'env'));
  }

  /** Remembers that a connected pusher was told how it ended. */
  async markReported(app: AppName, number: number): Promise<void> {
    await this.#redis.hset(keys.deployment(app, number), 'reported', '1');
  }
}

function parseDeployment(app: AppName, number: number, fields: Record<string, string>): Deployment {
  const date = (text: string | undefined): Date | undefined => (text ? new Date(text) : undefined);
  return {
    app,
    number,
    state: fields.state as DeploymentState,
    trigger: fields.trigger as Trigger,
    commit: (fields.commit ?? '') as CommitSha,
    pull: fields.pullReference
      ? { reference: fields.pullReference, digest: fields.pullDigest || undefined }
      : undefined,
    subject: fields.subject ?? '',
    branch: fields.branch ?? '',
    oldSha: fields.oldSha ?? '',
    by: fields.by ?? '',
    noCache: fields.noCache === '1',
    options: readAppOptions(fields.options),
    image: fields.image || undefined,
    rollbackTo: fields.rollbackTo ? Number(fields.rollbackTo) : undefined,
    envChanges: fields.envChanges ? (JSON.parse(fields.envChanges) as EnvChanges) : undefined,
    runs: Number(fields.runs ?? 0),
    switched: fields.switched === '1',
    isToCancel: fields.cancel !== undefined,
    createdAt: date(fields.createdAt) ?? new Date(0),
    startedAt: date(fields.startedAt),
    endedAt: date(fields.endedAt),
    reason: fields.reason || undefined,
    step: (fields.step || undefined) as Step | undefined,
    supersededBy: fields.supersededBy ? Number(fields.supersededBy) : undefined,
    crash: fields.crash ? parseCrash(fields.crash) : undefined,
    crashOf: fields.crashOf ? Number(fields.crashOf) : undefined,
    reported: fields.reported === '1',
  };
}

/** Lua writes a list of nothing as an object. */
function parseCrash(text: string): Crash {
  const { reason, lastLines } = JSON.parse(text) as { reason: string; lastLines: unknown };
  return { reason, lastLines: Array.isArray(lastLines) ? (lastLines as string[]) : [] };
}
