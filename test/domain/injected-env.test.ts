import { describe, expect, test } from 'vitest';
import { buildEnv, hookEnv, instanceEnv } from '../../src/domain/injected-env.ts';

const facts = { appId: 'app_1', app: 'shop', number: 4, commit: 'abc', port: 9000 };
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
