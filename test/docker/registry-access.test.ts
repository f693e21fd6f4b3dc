import { expect, it } from 'vitest';
import { registryConfig } from '../../src/docker/registry-access.ts';

const decoded = (headers: Record<string, string>): unknown =>
  JSON.parse(Buffer.from(headers['X-Registry-Config'] ?? '', 'base64url').toString());

it('names one registry only, and Docker Hub as the engine knows it', () => {
  const login = { username: 'ana', password: 'p' };
  expect(decoded(registryConfig({ ...login, host: 'ghcr.io' }))).toEqual({ 'ghcr.io': login });
  expect(decoded(registryConfig({ ...login, host: 'docker.io' }))).toEqual({
    'https://index.docker.io/v1/': login,
  });
});

it('is URL-safe: the engine takes anything else for no login at all, without a word', () => {
  const login = { host: 'ghcr.io', username: 'ana', password: '~~~???>>>ÿÿÿ' };
  expect(Buffer.from(JSON.stringify(login.password)).toString('base64')).toMatch(/[+/]/);
  const headers = registryConfig(login);
  expect(headers['X-Registry-Config']).toMatch(/^[\w-]+=*$/);
  expect(decoded(headers)).toEqual({ 'ghcr.io': { username: 'ana', password: login.password } });
});
