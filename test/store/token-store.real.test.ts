import { afterAll, beforeAll, expect, test } from 'vitest';
import { keys } from '../../src/store/keys.ts';
import { TokenStore } from '../../src/store/token-store.ts';
import { temporaryRedis } from '../support/redis.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
beforeAll(async () => {
  redis = await temporaryRedis();
});
afterAll(() => redis[Symbol.asyncDispose]());

test('what one process makes or revokes, another one knows at once', async () => {
  const [here, there] = [new TokenStore(redis.connect()), new TokenStore(redis.connect())];
  const { token, secret } = await here.create({ name: 'ci', scopes: ['deploy:shop'], createdBy: 'ana' });
  expect(await there.find(secret)).toEqual(token);
  expect(await here.revoke(token.tokenId)).toBe('revoked');
  expect(await there.find(secret)).toBeUndefined();
  expect(await there.revoke(token.tokenId)).toBe('unknown');
});

test('of two administrators who revoke each other at once, one stays', async () => {
  const store = new TokenStore(redis.connect());
  const expired = { createdBy: '', expiresAt: new Date(Date.now() - 1) };
  await store.create({ name: 'was', scopes: ['admin'], ...expired });
  for (let round = 0; round < 20; round++) {
    const made = await Promise.all(
      ['a', 'b'].map((name) => store.create({ name, scopes: ['admin'], createdBy: '' })),
    );
    const others = await Promise.all(
      made.map(({ token }) => new TokenStore(redis.connect()).revoke(token.tokenId)),
    );
    expect(others.toSorted()).toEqual(['last admin', 'revoked']);
    expect(await store.hasAdmin()).toBe(true);
    await redis.connect().del(keys.tokens);
  }
});

test('the last use is written at most once a minute, by however many processes', async () => {
  const connection = redis.connect();
  const stores = [new TokenStore(connection), new TokenStore(redis.connect())];
  const { token } = await stores[0]!.create({ name: 'ci', scopes: ['admin'], createdBy: '' });
  const lastUsed = async (): Promise<string | null> => connection.hget(keys.tokenUses, token.tokenId);
  await stores[0]!.noteUse(token.tokenId);
  const first = await lastUsed();
  expect(Date.parse(first ?? '')).toBeGreaterThan(Date.now() - 5000);
  for (let i = 0; i < 100; i++) await stores[i % 2]!.noteUse(token.tokenId);
  expect(await lastUsed()).toBe(first);
  await connection.hset(keys.tokenUses, token.tokenId, new Date(Date.now() - 61_000).toISOString());
  await new TokenStore(connection).noteUse(token.tokenId);
  expect(Date.parse((await lastUsed()) ?? '')).toBeGreaterThan(Date.now() - 5000);
});
