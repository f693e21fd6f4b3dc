import type { AppName } from '../domain/app.ts';
import { keys } from './keys.ts';
import { announceInLua } from './outbox.ts';

// What RouteChanges does in Redis. A worker whose fence is stale is turned away, and every script may run twice.

/** A rollback's change of variables and options, in Lua, or with the two sides exchanged its undoing. */
const goBackInLua = `
local function goBack(appKey, envKey, change, from, to)
  if #change.env > 0 then redis.call('HINCRBY', appKey, 'envVersion', 1) end
  for _, one in ipairs(change.env) do
    if (redis.call('HGET', envKey, one.name) or '') == one[from] then
      if one[to] == '' then redis.call('HDEL', envKey, one.name) else redis.call('HSET', envKey, one.name, one[to]) end
    end
  end
  local options = change.options
  if (redis.call('HGET', appKey, 'options') or '') == options[from] then redis.call('HSET', appKey, 'options', options[to]) end
end
`;

export const switchScript = `${goBackInLua}
local appKey, depKey, routeKey, versionKey, releaseKey, releasesKey, envKey = unpack(KEYS)
local fence, number, endpoints, image, now, app, channel, imageId, imageBytes, back = unpack(ARGV)
if redis.call('HGET', appKey, 'fence') ~= fence then return -1 end
local old = redis.call('GET', routeKey)
if redis.call('HGET', depKey, 'switched') == '1' then return cjson.decode(old).version end
local cancel = redis.call('HGET', depKey, 'cancel')
if cancel then return cancel end
local route = {app = app, version = redis.call('INCR', versionKey), live = cjson.decode(endpoints), draining = {}}
if old then
  local before = cjson.decode(old)
  for _, list in ipairs({before.draining or {}, before.live or {}}) do
    for _, gone in ipairs(list) do table.insert(route.draining, gone) end
  end
end
redis.call('SET', routeKey, cjson.encode(route))
redis.call('HSET', depKey, 'routeBefore', old or '', 'liveBefore', redis.call('HGET', appKey, 'live') or '', 'stoppedBefore', redis.call('HGET', appKey, 'stopped') or '')
local dep = redis.call('HMGET', depKey, 'commit', 'subject', 'by', 'env', 'options', 'cron', 'trigger', 'rollbackTo', 'envChanges', 'pullReference', 'pullDigest', 'published')
redis.call('HSET', releaseKey, 'image', image, 'imageId', imageId, 'imageBytes', imageBytes, 'trigger', dep[7], 'rollbackTo', dep[8] or '', 'envChanges', dep[9] or '', 'commit', dep[1], 'subject', dep[2], 'by', dep[3], 'env', dep[4], 'options', dep[5] or '', 'cron', dep[6] or '', 'pullReference', dep[10] or '', 'pullDigest', dep[11] or '', 'published', dep[12] or '', 'createdAt', now)
redis.call('ZADD', releasesKey, number, number)
if back ~= '' then
  goBack(appKey, envKey, cjson.decode(back), 'from', 'to')
  redis.call('HSET', depKey, 'back', back)
end
redis.call('HSET', depKey, 'switched', '1')
redis.call('HSETNX', '${keys.health('' as AppName)}' .. app, 'look', 'switch')
redis.call('HSET', appKey, 'live', number)
redis.call('HDEL', appKey, 'paused', 'stopped', 'stopping', 'trouble')
redis.call('PUBLISH', channel, cjson.encode({kind = 'route', app = app, version = route.version}))
return route.version
`;

export const switchBackScript = `${goBackInLua}
local appKey, depKey, routeKey, versionKey, releaseKey, releasesKey, envKey = unpack(KEYS)
local fence, number, app, channel = unpack(ARGV)
if redis.call('HGET', appKey, 'fence') ~= fence or redis.call('HGET', depKey, 'switched') ~= '1' then return 0 end
local now = cjson.decode(redis.call('GET', routeKey))
local before = redis.call('HGET', depKey, 'routeBefore')
before = before ~= '' and cjson.decode(before) or {live = {}, draining = {}}
local route = {app = app, version = redis.call('INCR', versionKey), live = before.live, draining = now.live, paused = before.paused, stopped = before.stopped, missing = before.missing}
if before.paused and #before.paused > 0 then redis.call('HSET', appKey, 'paused', '1') end
local stopped = redis.call('HGET', depKey, 'stoppedBefore')
if stopped and stopped ~= '' then redis.call('HSETNX', appKey, 'stopped', stopped) end
for _, gone in ipairs(before.draining or {}) do table.insert(route.draining, gone) end
redis.call('SET', routeKey, cjson.encode(route))
local live = redis.call('HGET', depKey, 'liveBefore')
if live == '' then redis.call('HDEL', appKey, 'live') else redis.call('HSET', appKey, 'live', live) end
local back = redis.call('HGET', depKey, 'back')
if back then goBack(appKey, envKey, cjson.decode(back), 'to', 'from') end
redis.call('DEL', releaseKey)
redis.call('ZREM', releasesKey, number)
redis.call('HSET', depKey, 'switched', '')
redis.call('PUBLISH', channel, cjson.encode({kind = 'route', app = app, version = route.version}))
return 1
`;

export const pauseScript = `
local appKey, routeKey, versionKey = unpack(KEYS)
local fence, app, channel = unpack(ARGV)
if redis.call('HGET', appKey, 'fence') ~= fence then return -1 end
local text = redis.call('GET', routeKey)
if not text then return 0 end
local route = cjson.decode(text)
if #(route.live or {}) == 0 then return route.version end
local draining = route.draining or {}
for _, endpoint in ipairs(route.live) do table.insert(draining, endpoint) end
route = {app = app, version = redis.call('INCR', versionKey), live = {}, draining = draining, paused = route.live, missing = route.missing}
redis.call('SET', routeKey, cjson.encode(route))
redis.call('HSET', appKey, 'paused', '1')
redis.call('PUBLISH', channel, cjson.encode({kind = 'route', app = app, version = route.version}))
return route.version
`;

/** What serves is not drained, nor is what had its address before: the router would never be done with it. */
const apartInLua = `
local function apart(draining, live)
  local busy, kept = {}, {}
  for _, endpoint in ipairs(live) do busy[endpoint.address .. ' ' .. endpoint.port] = true end
  for _, endpoint in ipairs(draining or {}) do
    if not busy[endpoint.address .. ' ' .. endpoint.port] then table.insert(kept, endpoint) end
  end
  return kept
end
`;

export const serveScript = `${apartInLua}
local appKey, routeKey, versionKey = unpack(KEYS)
local fence, app, channel, serving = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local held, live, paused, stopped = unpack(redis.call('HMGET', appKey, 'fence', 'live', 'paused', 'stopped'))
if held ~= fence or tonumber(live) ~= serving.release or paused or stopped then return -1 end
local route = cjson.decode(redis.call('GET', routeKey) or '{}')
route.app, route.version, route.live = app, redis.call('INCR', versionKey), serving.live
route.draining = apart(route.draining, serving.live)
route.missing = serving.missing > 0 and {release = serving.release, count = serving.missing} or nil
redis.call('SET', routeKey, cjson.encode(route))
redis.call('PUBLISH', channel, cjson.encode({kind = 'route', app = app, version = route.version}))
return route.version
`;

export const troubleScript = `${announceInLua}
local appKey = KEYS[1]
local fence, app, channel, trouble, line, now = unpack(ARGV)
local held, before, live = unpack(redis.call('HMGET', appKey, 'fence', 'trouble', 'live'))
if held ~= fence or not live then return 0 end
local isNews = (before or '') ~= trouble
if trouble ~= '' then
  redis.call('HSET', appKey, 'trouble', trouble)
  if isNews then announce(app, live, 'down', now, channel, line) end
elseif before then
  redis.call('HDEL', appKey, 'trouble')
  announce(app, live, 'recovered', now, channel)
end
return 1
`;

export const resumeScript = `${apartInLua}
local appKey, routeKey, versionKey = unpack(KEYS)
local fence, app, channel, containers = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
if redis.call('HGET', appKey, 'fence') ~= fence then return -1 end
redis.call('HDEL', appKey, 'paused')
local route = cjson.decode(redis.call('GET', routeKey) or '{}')
if #(route.paused or {}) == 0 then return route.version or 0 end
local there, live = {}, {}
for _, container in ipairs(containers) do there[container] = true end
for _, endpoint in ipairs(route.paused) do
  if there[endpoint.container] then table.insert(live, endpoint) end
end
local missing, gone = route.missing, #route.paused - #live
if gone > 0 then missing = {release = route.paused[1].release, count = gone} end
route = {app = app, version = redis.call('INCR', versionKey), live = live, draining = apart(route.draining, live), missing = missing}
redis.call('SET', routeKey, cjson.encode(route))
redis.call('PUBLISH', channel, cjson.encode({kind = 'route', app = app, version = route.version}))
return route.version
`;

export const stopRouteScript = `
local appKey, routeKey, versionKey = unpack(KEYS)
local fence, app, channel, depPrefix = unpack(ARGV)
local held, stopping, current = unpack(redis.call('HMGET', appKey, 'fence', 'stopping', 'current'))
if held ~= fence then return -1 end
if not stopping then return -2 end
if current then
  local dep = redis.call('HMGET', depPrefix .. current, 'state', 'switched')
  if dep[1] == 'running' and dep[2] == '1' then return -2 end
end
local route = cjson.decode(redis.call('GET', routeKey) or '{}')
if route.stopped then return route.version end
local draining = route.draining or {}
for _, endpoint in ipairs(route.live or {}) do table.insert(draining, endpoint) end
route = {app = app, version = redis.call('INCR', versionKey), live = {}, draining = draining, stopped = true}
redis.call('SET', routeKey, cjson.encode(route))
redis.call('HDEL', appKey, 'paused', 'trouble')
redis.call('PUBLISH', channel, cjson.encode({kind = 'route', app = app, version = route.version}))
return route.version
`;

export const markStoppedScript = `
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then redis.call('HDEL', KEYS[1], 'stopping') end
return 0
`;

export const moveScript = `
local routeKey, versionKey = unpack(KEYS)
local app, channel, container, address = unpack(ARGV)
local text = redis.call('GET', routeKey)
if not text then return 0 end
local route, isMoved = cjson.decode(text), false
for _, endpoint in ipairs(route.live or {}) do
  if endpoint.container == container and endpoint.address ~= address then
    endpoint.address = address
    isMoved = true
  end
end
if not isMoved then return 0 end
route.version = redis.call('INCR', versionKey)
redis.call('SET', routeKey, cjson.encode(route))
redis.call('PUBLISH', channel, cjson.encode({kind = 'route', app = app, version = route.version}))
return route.version
`;
