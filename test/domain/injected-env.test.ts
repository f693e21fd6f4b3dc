import { describe, expect, test } from 'vitest';
import { buildEnv, hookEnv, type InjectedFacts, instanceEnv } from '../../src/domain/injected-env.ts';
import type { ServiceName } from '../../src/domain/service.ts';

const facts: InjectedFacts = {
  appId: 'app_1',
  app: 'shop',
  number: 4,
  commit: 'abc',
  port: 9000,
  services: [],
  hosts: ['shop.localhost', 'shop.example'],
  memoryBytes: 512 * 1024 ** 2,
  isPulled: false,
};
const common = {
  PORT: '9000',
  APP_ID: 'app_1',
  CC_APP_NAME: 'shop',
  CC_DEPLOYMENT_ID: '4',
  CC_COMMIT_ID: 'abc',
  COMMIT_ID: 'abc',
};

describe('injected variables', () => {
  test('of a build are those of the deployment', () => {
    expect(buildEnv(facts)).toEqual({ ...common, INSTANCE_TYPE: 'build' });
  });

  test('of an image name no commit', () => {
    const env = buildEnv({ ...facts, commit: '' });
    expect(env).not.toHaveProperty('COMMIT_ID');
    expect(env).not.toHaveProperty('CC_COMMIT_ID');
  });

  test("of an app with a service, or of an image, are Cloud Foundry's, too", () => {
    const credentials = { uri: 'postgres://db/shop' };
    const db = {
      name: 'db' as ServiceName,
      id: '1',
      label: 'user-provided',
      tags: [],
      bindingId: '2',
      isManaged: false,
      credentials,
    };
    expect(buildEnv({ ...facts, services: [db] })).toMatchObject({
      ...common,
      DATABASE_URL: credentials.uri,
    });
    const { VCAP_APPLICATION = '', VCAP_SERVICES = '' } = buildEnv({ ...facts, isPulled: true });
    expect(JSON.parse(VCAP_SERVICES)).toEqual({});
    expect(JSON.parse(VCAP_APPLICATION)).toMatchObject({
      application_id: 'app_1',
      application_name: 'shop',
      application_uris: ['shop.localhost', 'shop.example'],
      application_version: '4',
      limits: { mem: 512 },
    });
  });

  test('of a hook know the folder', () => {
    expect(hookEnv(facts, '/checkout')).toMatchObject({
      ...common,
      APP_HOME: '/checkout',
      INSTANCE_TYPE: 'build',
      INSTANCE_NUMBER: '0',
    });
  });

  test('of an instance know which one it is and who asks', () => {
    const instance = { number: 2, home: '/app', proxies: ['10.0.0.1', '127.0.0.1'] };
    expect(instanceEnv(facts, instance)).toEqual({
      ...common,
      APP_HOME: '/app',
      INSTANCE_TYPE: 'production',
      INSTANCE_NUMBER: '2',
      INSTANCE_ID: 'shop-v4-2',
      CC_PRETTY_INSTANCE_NAME: expect.stringMatching(/^[a-z]+-[a-z]+-\d+$/),
      CC_REVERSE_PROXY_IPS: '10.0.0.1,127.0.0.1',
    });
  });

  test('give every instance of every deployment an id and a name of its own, and the same one each time', () => {
    const of = (number: number, instance: number) =>
      instanceEnv({ ...facts, number }, { number: instance, home: '/', proxies: [] });
    const all = [of(4, 0), of(4, 1), of(5, 0)];
    expect(new Set(all.map((env) => env.INSTANCE_ID)).size).toBe(3);
    expect(new Set(all.map((env) => env.CC_PRETTY_INSTANCE_NAME)).size).toBe(3);
    expect(of(4, 1)).toEqual(of(4, 1));
  });
});
