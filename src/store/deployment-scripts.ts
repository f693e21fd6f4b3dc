import { refuseDeletedInLua } from './app-deletions.ts';
import { announceInLua } from './outbox.ts';

// What DeploymentStore does in Redis, in the order of its methods. Every script may run twice with the same input.

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

export const crashScript = `${announceInLua}${crashInLua}
local appKey, depKey, releaseKey = unpack(KEYS)
local app, crash, outcome, now, channel = ARGV[1], cjson.decode(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
if hasCrashed(appKey, depKey, crash.of) then noteCrash(depKey, releaseKey, app, crash, outcome, now, channel) end
return 1
`;

export const requestScript = `${endInLua}${crashInLua}
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

export const claimScript = `${endInLua}
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

export const stopScript = `${endInLua}
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

export const endRestoredScript = `${endInLua}
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

export const skipScript = `
if tonumber(redis.call('HGET', KEYS[1], 'seq') or '0') < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'seq', ARGV[1]) end
return 1
`;

export const handBackScript = `
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] or redis.call('HGET', KEYS[2], 'runBy') ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[2], 'state') ~= 'running' then return 0 end
redis.call('HINCRBY', KEYS[2], 'runs', -1)
redis.call('HSET', KEYS[2], 'state', 'queued', 'runBy', '')
redis.call('HDEL', KEYS[1], 'current')
return 1
`;

export const finishScript = `${endInLua}
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

export const cancelScript = `${endInLua}
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
