import { describe, expect, test } from 'vitest';
import { readManifest } from '../../src/domain/cf-manifest.ts';

const docker = { image: 'ghcr.io/ana/shop:1.2' };

function read(document: unknown, variables: Record<string, unknown> = {}) {
  const manifest = readManifest(document, variables);
  if ('problem' in manifest) throw new Error(manifest.problem);
  return manifest;
}

function app(change: Record<string, unknown>, variables: Record<string, unknown> = {}) {
  const [only] = read({ applications: [{ name: 'shop', docker, ...change }] }, variables).apps;
  if (!only) throw new Error('there is none');
  return only;
}

const problem = (document: unknown, variables: Record<string, unknown> = {}): string => {
  const manifest = readManifest(document, variables);
  return 'problem' in manifest ? manifest.problem : '';
};

describe('a manifest', () => {
  test('that says little leaves everything as it is', () => {
    expect(read({ version: 1, applications: [{ name: 'shop', docker }] })).toEqual({
      apps: [
        { name: 'shop', image: docker.image, env: {}, options: {}, domains: [], services: [], notes: [] },
      ],
      notes: [],
    });
  });

  test('may say all that an app can have', () => {
    expect(
      app({
        docker: { ...docker, username: 'ana' },
        memory: '512MB',
        instances: 2,
        command: 'bin/serve --all',
        'health-check-type': 'http',
        'health-check-http-endpoint': '/up',
        timeout: 90,
        env: { TEXT: 'a', NUMBER: 3, FLAG: true, LIST: ['a', 1], NONE: null, __proto__x: 'fine' },
        routes: [{ route: 'shop.example.com' }, { route: 'www.example.com/Shop/', protocol: 'http1' }],
        services: ['db', { name: 'mail' }],
      }),
    ).toEqual({
      name: 'shop',
      image: docker.image,
      username: 'ana',
      env: { TEXT: 'a', NUMBER: '3', FLAG: 'true', LIST: '["a",1]', NONE: '', __proto__x: 'fine' },
      options: {
        memory: 512 * 1024 ** 2,
        instances: 2,
        command: 'bin/serve --all',
        healthCheck: 'http',
        endpoint: '/up',
        startTimeout: 90,
      },
      domains: ['shop.example.com', 'www.example.com/shop'],
      services: ['db', 'mail'],
      notes: [],
    });
    expect(app({ command: null }).options).toEqual({ command: null });
    expect(app({ 'health-check-type': 'none' }).options).toEqual({ healthCheck: 'process' });
  });

  test('is one process here, and what is said of that comes first', () => {
    const processes = [
      { type: 'web', memory: '1G', instances: 3, disk_quota: '1G' },
      { type: 'worker', command: 'work' },
    ];
    const { options, notes } = app({ memory: '64M', processes });
    expect(options).toEqual({ memory: 1024 ** 3, instances: 3 });
    expect(notes).toEqual([
      expect.stringMatching(/^shop: disk_quota is not used: /),
      expect.stringMatching(/^shop: the process "worker" is not run: /),
    ]);
  });

  test('is told of everything that is not done', () => {
    const manifest = read({
      applications: [
        {
          name: 'shop',
          docker: { ...docker, registry: 'x' },
          disk_quota: '1G',
          services: [{ name: 'db', parameters: {} }],
          sidecars: [],
          'no-route': true,
          misspelt: 1,
          routes: [{ route: 'tcp.example.com:1234' }, { route: '*.example.com' }],
        },
      ],
      inherit: 'base.yml',
    });
    expect(manifest.notes).toEqual(['"inherit" is not known, and not used']);
    const notes = manifest.apps[0]?.notes.join('\n') ?? '';
    for (const key of [
      'docker.registry',
      'disk_quota',
      'parameters of a service',
      'sidecars',
      'no-route',
      'misspelt',
      ':1234',
      '*.',
    ])
      expect(notes).toContain(key);
  });
});

describe('variables', () => {
  test('stand for texts in texts, and alone for anything', () => {
    const { env, options } = app(
      { instances: '((count))', env: { URL: 'https://((host))/((count))', LIST: '((list))' } },
      { count: 2, host: 'a.example', list: ['x'] },
    );
    expect(options).toEqual({ instances: 2 });
    expect(env).toEqual({ URL: 'https://a.example/2', LIST: '["x"]' });
    expect(app({ instances: '((count))' }, { count: '4' }).options).toEqual({ instances: 4 });
  });

  test('that have no value are named', () => {
    expect(problem({ applications: [{ name: 'shop', docker: { image: 'x:((tag))' } }] })).toMatch(
      /the variable \(\(tag\)\) has no value: --var tag=VALUE/,
    );
    expect(problem({ applications: '((toString))' })).toMatch(/\(\(toString\)\) has no value/);
  });
});

test.each([
  [null, /not made of keys and values/],
  ['text', /not made of keys/],
  [{}, /a list of applications/],
  [{ applications: [] }, /a list of applications/],
  [{ applications: ['shop'] }, /application 1 is not made of keys/],
  [{ applications: [{ docker }] }, /application 1 has no name/],
  [{ applications: [{ name: 'Shop', docker }] }, /cannot be called "Shop"/],
  [{ applications: [{ name: 'shop' }] }, /shop: it has no docker.image; what is in a repository/],
  [{ applications: [{ name: 'shop', docker: {} }] }, /no docker.image/],
  [{ applications: [{ name: 'shop', docker: { image: '-v' } }] }, /hyphen/],
  [{ applications: [{ name: 'shop', docker, buildpacks: ['x'] }] }, /buildpacks beside docker/],
  [
    { applications: [{ name: 'shop', docker, path: '.', buildpack: 'x' }] },
    /buildpack and path beside docker/,
  ],
  [{ applications: [{ name: 'shop', docker, memory: '1' }] }, /memory is a size/],
  [{ applications: [{ name: 'shop', docker, instances: 1.5 }] }, /instances is not a whole number/],
  [{ applications: [{ name: 'shop', docker, timeout: 'long' }] }, /timeout is not a whole number/],
  [{ applications: [{ name: 'shop', docker, env: { '1A': 'x' } }] }, /the variable "1A"/],
  [{ applications: [{ name: 'shop', docker, env: [] }] }, /env is not made of keys/],
  [{ applications: [{ name: 'shop', docker, routes: 'x' }] }, /routes is a list/],
  [
    { applications: [{ name: 'shop', docker, routes: [{ route: 'a.example/../b' }] }] },
    /without \. and \.\./,
  ],
  [{ applications: [{ name: 'shop', docker, 'health-check-type': 'tcp' }] }, /port, http or process/],
  [
    {
      applications: [
        { name: 'shop', docker },
        { name: 'shop', docker },
      ],
    },
    /shop is there twice/,
  ],
])('%j is refused', (document, reason) => {
  expect(problem(document)).toMatch(reason);
});
