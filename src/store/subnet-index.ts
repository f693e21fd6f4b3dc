import type { Redis } from 'ioredis';
import { keys } from './keys.ts';

/** A number of its own for a network, from which its addresses are cut; kept in a field of its owner. */
export async function subnetIndex(
  redis: Redis,
  owner: string,
  taken: readonly number[],
  field: string,
): Promise<number> {
  return (await redis.eval(subnetScript, 2, owner, keys.subnets, JSON.stringify(taken), field)) as number;
}

/** Keeps the owner's index unless it is in `taken` (its range overlaps somebody else's network); else gives the next free one. */
const subnetScript = `
local ownerKey, subnetsKey, taken, field = KEYS[1], KEYS[2], cjson.decode(ARGV[1]), ARGV[2]
local refused = {}
for _, index in ipairs(taken) do refused[tostring(index)] = true end
local mine = redis.call('HGET', ownerKey, field)
if mine and not refused[mine] then return tonumber(mine) end
local index = 0
while refused[tostring(index)] or redis.call('SISMEMBER', subnetsKey, index) == 1 do index = index + 1 end
redis.call('SADD', subnetsKey, index)
redis.call('HSET', ownerKey, field, index)
return index
`;
