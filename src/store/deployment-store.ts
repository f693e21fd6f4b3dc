import type { Redis } from 'ioredis';
import type { AppName, CommitSha } from '../domain/app.ts';
import { readAppOptions } from '../domain/app-options.ts';
import type { CronEntry } from '../domain/cron-file.ts';
import type { Crash, Deployment, DeploymentState, Step, Trigger } from '../domain/deployment.ts';
import type { EnvChanges } from '../domain/env-changes.ts';
import { explainDeleted, refuseDeletedInLua } from './app-deletions.ts';
import { keys } from './keys.ts';
import { announceInLua } from './outbox.ts';
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

  /** Apps a worker should be on: their desired deployment is not settled, what served was stopped for one that died, or they are to be stopped. */
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

/** The end of a deployment in Lua, shared by the scripts: state first, then the terminal record of the log, then the outbox. */
const endInLua = `${announceInLua}
local function finish(depKey, logKey, app, number, state, reason, by, now, channel)
  redis.call('HSET', depKey, 'state', state, 'reason', reason, 'supersededBy', by, 'endedAt', now)
  redis.call('XADD', logKey, '*', 'end', state)
  redis.call('PUBLISH', channel, cjson.encode({kind = 'ended', app = app, number = tonumber(number)}))
  announce(app, number, state, now, channel)
end
`;

/** A release that crashed is told of once, also to the next pusher. */
const crashInLua = `
local function hasCrashed(appKey, depKey, of)
  local state, told = unpack(redis.call('HMGET', depKey, 'state', 'crash'))
  return redis.call('HGET', appKey, 'live') == tostring(of) and state == 'live' and not told
end
local function noteCrash(depKey, releaseKey, app, crash, outcome, now, channel)
  local reason = crash.reason .. '; ' .. outcome
  redis.call('HSET', depKey, 'crash', cjson.encode({reason = reason, lastLines = crash.lastLines}), 'reported', '')
  if redis.call('EXISTS', releaseKey) == 1 then redis.call('HSET', releaseKey, 'crashed', '1') end
  announce(app, crash.of, 'release crashed', now, channel, reason)
end
`;

const crashScript = `${announceInLua}${crashInLua}
local appKey, depKey, releaseKey = unpack(KEYS)
local app, crash, outcome, now, channel = ARGV[1], cjson.decode(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
if hasCrashed(appKey, depKey, crash.of) then noteCrash(depKey, releaseKey, app, crash, outcome, now, channel) end
return 1
`;

const requestScript = `${endInLua}${crashInLua}
local appKey, envKey, requestKey, appsKey, releaseKey = unpack(KEYS)
local app, now, fields, depPrefix, logPrefix, channel = ARGV[1], ARGV[2], cjson.decode(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local isAsRelease, crash, releasePrefix = ARGV[7] == '1', ARGV[8] ~= '' and cjson.decode(ARGV[8]), ARGV[9]
local made = redis.call('GET', requestKey)
if made then return {tonumber(made), 0} end
${refuseDeletedInLua}local desired = redis.call('HGET', appKey, 'desired')
if desired then
  local depKey = depPrefix .. desired
  local old = redis.call('HMGET', depKey, 'state', 'commit', 'trigger', 'cancel', 'rollbackTo', 'pullDigest', 'options')
  local isSame = old[2] == fields.commit and old[3] == fields.trigger and (old[5] or '') == fields.rollbackTo
  -- What a tag means may have changed since it was looked up.
  if fields.commit == '' then
    local isAsWanted = (old[7] or '') == (redis.call('HGET', appKey, 'options') or '')
    isSame = isSame and isAsWanted and fields.pullDigest ~= '' and old[6] == fields.pullDigest
  end
  if (old[1] == 'queued' or old[1] == 'running') and isSame and not old[4] then
    return {tonumber(desired), 1}
  end
end
if crash then
  local state = redis.call('HGET', depPrefix .. desired, 'state')
  local isStopped = redis.call('HEXISTS', appKey, 'stopped') == 1
  if state == 'queued' or state == 'running' or isStopped or not hasCrashed(appKey, depPrefix .. crash.of, crash.of) then return {0, 0} end
end
local env, options, cron
if isAsRelease then
  env, options, cron = unpack(redis.call('HMGET', releaseKey, 'env', 'options', 'cron'))
  if not env then return {0, 0} end
else
  env, options = cjson.encode(redis.call('HGETALL', envKey)), redis.call('HGET', appKey, 'options')
end
local number = redis.call('HINCRBY', appKey, 'seq', 1)
redis.call('SADD', appsKey, app)
redis.call('HSETNX', appKey, 'createdAt', now)
if fields.branch ~= '' then redis.call('HSETNX', appKey, 'branch', fields.branch) end
local flat = {}
for name, value in pairs(fields) do flat[#flat + 1] = name; flat[#flat + 1] = value end
redis.call('HSET', depPrefix .. number, 'state', 'queued', 'createdAt', now,
  'env', env, 'options', options or '', 'cron', cron or '', unpack(flat))
announce(app, number, 'queued', now, channel)
redis.call('HSET', appKey, 'desired', number)
redis.call('SET', requestKey, number, 'EX', 86400)
if desired and redis.call('HGET', depPrefix .. desired, 'state') == 'queued' then
  finish(depPrefix .. desired, logPrefix .. desired, app, desired, 'superseded', 'superseded by #' .. number, number, now, channel)
end
if crash then
  local outcome = 'v' .. fields.rollbackTo .. ' is put back by deploy #' .. number
  noteCrash(depPrefix .. crash.of, releasePrefix .. crash.of, app, crash, outcome, now, channel)
end
redis.call('PUBLISH', channel, cjson.encode({kind = 'stop', app = app}))
return {number, 0}
`;

const claimScript = `${endInLua}
local appKey = KEYS[1]
local fence, now, depPrefix, logPrefix, channel, maxRuns = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if redis.call('HGET', appKey, 'fence') ~= fence then return nil end
local app = string.match(appKey, '([^:]+)$')
local desired = redis.call('HGET', appKey, 'desired')
local current = redis.call('HGET', appKey, 'current')
if current and current ~= desired then
  local left = redis.call('HMGET', depPrefix .. current, 'state', 'switched')
  if left[1] == 'running' then
    if left[2] == '1' then
      desired = current
    else
      finish(depPrefix .. current, logPrefix .. current, app, current, 'superseded', 'superseded by #' .. desired, desired, now, channel)
    end
  end
end
if not desired then return nil end
local depKey = depPrefix .. desired
local state, by, cancel, switched = unpack(redis.call('HMGET', depKey, 'state', 'runBy', 'cancel', 'switched'))
if state ~= 'queued' and state ~= 'running' then return nil end
if cancel and switched ~= '1' then
  finish(depKey, logPrefix .. desired, app, desired, 'cancelled', 'cancelled: ' .. cancel, '', now, channel)
  return nil
end
if by ~= fence then
  local runs = redis.call('HINCRBY', depKey, 'runs', 1)
  if runs > maxRuns then
    finish(depKey, logPrefix .. desired, app, desired, 'failed', 'the worker died ' .. maxRuns .. ' times during this deployment', '', now, channel)
    return nil
  end
end
redis.call('HSET', depKey, 'state', 'running', 'runBy', fence)
if redis.call('HSETNX', depKey, 'startedAt', now) == 1 then announce(app, desired, 'running', now, channel) end
redis.call('HSET', appKey, 'current', desired)
return tonumber(desired)
`;

const stopScript = `${endInLua}
local appKey = KEYS[1]
local stopped, reason, now, app, channel, depPrefix, logPrefix = unpack(ARGV)
local cancelled = {}
if redis.call('HSETNX', appKey, 'stopped', stopped) == 1 then redis.call('HSET', appKey, 'stopping', '1') end
for _, field in ipairs({'desired', 'current'}) do
  local number = redis.call('HGET', appKey, field)
  local depKey = depPrefix .. (number or '')
  local state, switched, cancel = unpack(redis.call('HMGET', depKey, 'state', 'switched', 'cancel'))
  if state == 'queued' then
    finish(depKey, logPrefix .. number, app, number, 'cancelled', 'cancelled: ' .. reason, '', now, channel)
    table.insert(cancelled, tonumber(number))
  elseif state == 'running' and switched ~= '1' and not cancel then
    redis.call('HSET', depKey, 'cancel', reason)
    redis.call('PUBLISH', channel, cjson.encode({kind = 'stop', app = app}))
    table.insert(cancelled, tonumber(number))
  end
end
return cancelled
`;

const endRestoredScript = `${endInLua}
local appKey = KEYS[1]
local reason, now, app, channel, depPrefix, logPrefix = unpack(ARGV)
local ended = {}
for _, field in ipairs({'current', 'desired'}) do
  local number = redis.call('HGET', appKey, field)
  local depKey = depPrefix .. (number or '')
  local state, switched = unpack(redis.call('HMGET', depKey, 'state', 'switched'))
  if state == 'queued' or state == 'running' then
    local isLive = switched == '1'
    finish(depKey, logPrefix .. number, app, number, isLive and 'live' or 'cancelled', isLive and '' or 'cancelled: ' .. reason, '', now, channel)
    table.insert(ended, tonumber(number))
  end
end
redis.call('HDEL', appKey, 'current')
return ended
`;

const skipScript = `
if tonumber(redis.call('HGET', KEYS[1], 'seq') or '0') < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'seq', ARGV[1]) end
return 1
`;

const handBackScript = `
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] or redis.call('HGET', KEYS[2], 'runBy') ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[2], 'state') ~= 'running' then return 0 end
redis.call('HINCRBY', KEYS[2], 'runs', -1)
redis.call('HSET', KEYS[2], 'state', 'queued', 'runBy', '')
redis.call('HDEL', KEYS[1], 'current')
return 1
`;

const finishScript = `${endInLua}
local appKey, depKey, logKey = KEYS[1], KEYS[2], KEYS[3]
local fence, number, state, reason, by, now, app, channel, step = unpack(ARGV)
if redis.call('HGET', appKey, 'fence') ~= fence then return 0 end
local was = redis.call('HGET', depKey, 'state')
if was ~= 'running' then return was == state and 1 or 0 end
redis.call('HSET', depKey, 'step', step)
finish(depKey, logKey, app, number, state, reason, by, now, channel)
if redis.call('HGET', appKey, 'current') == number then redis.call('HDEL', appKey, 'current') end
return 1
`;

const cancelScript = `${endInLua}
local appKey, depKey, logKey = KEYS[1], KEYS[2], KEYS[3]
local number, reason, now, app, channel = unpack(ARGV)
local state, switched = unpack(redis.call('HMGET', depKey, 'state', 'switched'))
if state == 'queued' then
  finish(depKey, logKey, app, number, 'cancelled', 'cancelled: ' .. reason, '', now, channel)
  return 'cancelled'
end
if state ~= 'running' or switched == '1' then return 'too late' end
redis.call('HSET', depKey, 'cancel', reason)
redis.call('PUBLISH', channel, cjson.encode({kind = 'stop', app = app}))
return 'asked'
`;
