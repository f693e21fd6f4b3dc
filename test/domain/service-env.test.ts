import { describe, expect, test } from 'vitest';
import type { BoundService, ServiceName } from '../../src/domain/service.ts';
import { secretsOf, serviceEnv } from '../../src/domain/service-env.ts';

function bound(
  name: string,
  credentials: BoundService['credentials'],
  label = 'user-provided',
): BoundService {
  return {
    name: name as ServiceName,
    id: `id-${name}`,
    label,
    tags: ['a'],
    bindingId: `binding-${name}`,
    isManaged: label !== 'user-provided',
    credentials,
  };
}

describe('what an app is told of its services', () => {
  test('is in VCAP_SERVICES as Cloud Foundry writes it', () => {
    const services = [
      bound('mail', { key: 'k' }),
      bound('db', { uri: 'x:y' }, 'postgresql'),
      bound('sms', {}),
    ];
    expect(JSON.parse(serviceEnv(services).VCAP_SERVICES ?? '')).toEqual({
      'user-provided': [
        {
          label: 'user-provided',
          name: 'mail',
          tags: ['a'],
          instance_guid: 'id-mail',
          instance_name: 'mail',
          binding_guid: 'binding-mail',
          binding_name: null,
          credentials: { key: 'k' },
          syslog_drain_url: '',
          volume_mounts: [],
        },
        expect.objectContaining({ name: 'sms', credentials: {} }),
      ],
      postgresql: [
        expect.objectContaining({
          label: 'postgresql',
          plan: 'container',
          name: 'db',
          syslog_drain_url: null,
        }),
      ],
    });
  });

  test.each([
    ['the first with a uri', [{ key: 'k' }, { uri: 'amqp://one' }, { uri: 'amqp://two' }], 'amqp://one'],
    ['a database before others', [{ uri: 'redis://cache' }, { uri: 'postgres://db/x' }], 'postgres://db/x'],
    ['the database bound first', [{ uri: 'mysql://a/x' }, { uri: 'postgres://b/x' }], 'mysql://a/x'],
    ['none without a uri', [{ url: 'postgres://db/x' }, { uri: 7 }, { uri: 'no address' }], undefined],
    ['none that no variable can carry', [{ uri: 'postgres://db/\0' }], undefined],
  ])('has a DATABASE_URL of %s', (_, credentials, expected) => {
    const services = credentials.map((each, index) => bound(`s${index}`, each));
    expect(serviceEnv(services).DATABASE_URL).toBe(expected);
  });

  test("is in the variables of Clever Cloud's add-ons, from the first of each kind", () => {
    const { VCAP_SERVICES: _, ...env } = serviceEnv([
      bound('db', { uri: 'postgres://ana:p%40ss@db.example:6543/shop' }),
      bound('other', { uri: 'postgresql://x:y@other/z' }),
      bound('sql', { uri: 'mysql://bob:secret@sql/site' }),
      bound('cache', { uri: 'redis://:word@cache:7000' }),
    ]);
    expect(env).toEqual({
      DATABASE_URL: 'postgres://ana:p%40ss@db.example:6543/shop',
      POSTGRESQL_ADDON_URI: 'postgres://ana:p%40ss@db.example:6543/shop',
      POSTGRESQL_ADDON_HOST: 'db.example',
      POSTGRESQL_ADDON_PORT: '6543',
      POSTGRESQL_ADDON_USER: 'ana',
      POSTGRESQL_ADDON_PASSWORD: 'p@ss',
      POSTGRESQL_ADDON_DB: 'shop',
      MYSQL_ADDON_URI: 'mysql://bob:secret@sql/site',
      MYSQL_ADDON_HOST: 'sql',
      MYSQL_ADDON_PORT: '3306',
      MYSQL_ADDON_USER: 'bob',
      MYSQL_ADDON_PASSWORD: 'secret',
      MYSQL_ADDON_DB: 'site',
      REDIS_URL: 'redis://:word@cache:7000',
      REDIS_HOST: 'cache',
      REDIS_PORT: '7000',
      REDIS_PASSWORD: 'word',
    });
  });
});

test('everything in credentials is secret but where something is and who asks', () => {
  const credentials = {
    host: 'db.example',
    port: 5432,
    username: 'ana',
    uri: 'postgres://ana:p%40ss-word@db.example/shop',
    nested: { keys: ['first-key', 'second-key'], name: 'shop' },
    pin: 12345678,
  };
  expect(Object.values(secretsOf([bound('db', credentials)]))).toEqual([
    'postgres://ana:p%40ss-word@db.example/shop',
    'p@ss-word',
    'first-key',
    'second-key',
    '12345678',
  ]);
});
