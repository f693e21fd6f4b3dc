import { request } from 'node:http';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { gitClient } from '../support/git.ts';
import { Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Answer = { status: number; retryAfter: number; body: string };

/** A request from any address of this machine. */
function ask(from: string, token: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: '127.0.0.1',
        port: rig.port,
        localAddress: from,
        path: '/api/v1/whoami',
        agent: false,
        headers: { authorization: `Bearer ${token}`, ...headers },
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            retryAfter: Number(response.headers['retry-after'] ?? 0),
            body,
          }),
        );
      },
    );
    asked.on('error', reject).end();
  });
}

const wrong = (number: number): string => `gantry_wrong-${number}`;
const lsRemote = (token: string) =>
  gitClient().run(['ls-remote', `http://ci:${token}@127.0.0.1:${rig.port}/shop.git`]);

test('many wrong tokens of one address wait, whatever it claims about itself; everybody else does not', async () => {
  const tries = await Promise.all(
    Array.from({ length: 300 }, (_, number) =>
      ask('127.0.0.2', wrong(number), { 'x-forwarded-for': `10.0.0.${number % 250}` }),
    ),
  );
  const [last] = tries.filter(({ status }) => status === 429);
  expect(JSON.parse(last?.body ?? '{}')).toMatchObject({
    code: 'TOO_MANY_ATTEMPTS',
    detail: 'too many wrong tokens from 127.0.0.2',
    hint: expect.stringMatching(/^try again in \d+ s$/),
  });
  // One after the other, so that what is in flight does not blur the count.
  const next: Answer[] = [];
  for (let number = 0; number < 50; number++) next.push(await ask('127.0.0.2', wrong(1000 + number)));
  expect(next.filter(({ status }) => status === 401).length).toBeLessThan(3);
  expect(next.filter(({ status }) => status === 429).every(({ retryAfter }) => retryAfter >= 1)).toBe(true);

  // A token that this server has not seen yet, from another address.
  const fresh = await rig.createToken('fresh', ['read:shop']);
  expect((await ask('127.0.0.3', fresh)).status).toBe(200);
  // One that it knows, even from there: somebody may guess behind the same proxy.
  expect((await ask('127.0.0.2', fresh)).status).toBe(200);
  expect((await ask('127.0.0.2', await rig.createToken('unseen', ['admin']))).status).toBe(429);
});

test('the same wrong token of many addresses waits', async () => {
  const answers: number[] = [];
  for (let number = 0; number < 8; number++)
    answers.push((await ask(`127.0.1.${number + 1}`, 'gantry_leaked-and-revoked')).status);
  expect(answers).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
  expect((await ask('127.0.1.1', await rig.createToken('right', ['admin']))).status).toBe(200);
});

test('git is slowed down as well, is told so, and gets in again when the time is over', async () => {
  const answers: string[] = [];
  for (let number = 0; number < 7; number++) answers.push((await lsRemote(wrong(number))).stderr);
  expect(answers[0]).toContain('remote: the token is wrong or was revoked');
  expect(answers[6]).toMatch(
    /remote: too many wrong tokens from 127\.0\.0\.1\nremote: hint: try again in \d+ s/,
  );
  const token = await rig.createToken('late', ['deploy:shop']);
  await until(
    'the time is over',
    async () => (await lsRemote(token)).code === 128 && !(await lsRemote(token)).stderr.includes('too many'),
  );
  expect((await lsRemote(token)).stderr).toContain('app "shop" not found');
});
