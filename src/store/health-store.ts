import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { keys } from './keys.ts';
import { announceInLua } from './outbox.ts';

type ServingContainer = {
  id: string;
  release: number;
  running: boolean;
  restartCount: number;
  /** How it ended last, where that was seen. */
  how?: string;
};

/** An app that ends again within this time has not recovered. */
const recoveredAfterMs = 20_000;
/** The engine waits longer each time, up to a minute; so many are no accident. */
const loopingFrom = 4;

/** How the containers are that serve, as workers see them from time to time; what is news goes into the outbox. */
export class HealthStore {
  readonly #redis: Redis;
  readonly #recoveredAfterMs: number;

  constructor(redis: Redis, recoveredAfter = recoveredAfterMs) {
    this.#redis = redis;
    this.#recoveredAfterMs = recoveredAfter;
  }

  /**
   * Notes what was seen. A container that the engine has had to start again since the last look is a crash, told once until
   * all of them run and stay up. At an app that was live before there were looks, the first one is nothing to compare with.
   * One that goes on and on is told of once more.
   * Returns how often the engine has had to since.
   */
  async look(app: AppName, containers: readonly ServingContainer[]): Promise<number> {
    const now = new Date();
    const restarts = await this.#redis.eval(
      lookScript,
      1,
      keys.health(app),
      app,
      randomUUID(),
      JSON.stringify(containers),
      now.toISOString(),
      now.getTime(),
      this.#recoveredAfterMs,
      keys.channel,
      loopingFrom,
    );
    return Number(restarts);
  }
}

const lookScript = `${announceInLua}
local key = KEYS[1]
local app, look, containers, now, ms, patience, channel, loopingFrom = ARGV[1], ARGV[2], cjson.decode(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local flat, seen = redis.call('HGETALL', key), {}
for i = 1, #flat, 2 do seen[flat[i]] = flat[i + 1] end
if seen.look == look then return 0 end
local ended, allRun, release, restarts, how = 0, true, 0, 0, ''
redis.call('DEL', key)
for _, one in ipairs(containers) do
  local before = tonumber(seen['c ' .. one.id] or '0')
  if one.restartCount > before and one.restartCount > ended then ended = one.restartCount; release = one.release; how = one.how or '' end
  if release == 0 then release = one.release end
  restarts = restarts + math.max(0, one.restartCount - before)
  allRun = allRun and one.running
  redis.call('HSET', key, 'c ' .. one.id, one.restartCount)
end
redis.call('HSET', key, 'look', look)
local crashed = tonumber(seen.crashed or '')
if not seen.look then return 0 end
if ended > 0 then
  local times = tonumber(seen.times or '0') + restarts
  redis.call('HSET', key, 'crashed', ms, 'times', times)
  if how ~= '' then how = ' (' .. how .. ')' end
  if not crashed then
    local often = ended == 1 and 'once' or ended .. ' times'
    announce(app, release, 'crashed', now, channel, 'a container of v' .. release .. ' ended by itself, ' .. often .. ' so far, and is started again' .. how)
  end
  if times >= loopingFrom and not seen.looping then
    announce(app, release, 'crash looping', now, channel, 'v' .. release .. ' ends again and again, ' .. times .. ' times so far' .. how .. '; it is started again after ever longer pauses, of a minute at most')
  end
  if times >= loopingFrom then redis.call('HSET', key, 'looping', '1') end
elseif crashed and allRun and ms - crashed >= patience * (seen.looping and 3 or 1) then
  announce(app, release, 'recovered', now, channel)
elseif crashed then
  redis.call('HSET', key, 'crashed', crashed, 'times', seen.times or '0')
  if seen.looping then redis.call('HSET', key, 'looping', '1') end
end
return restarts
`;
