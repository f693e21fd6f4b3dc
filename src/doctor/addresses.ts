import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { get } from 'node:http';
import { createServer } from 'node:net';
import type { Config } from '../config.ts';
import { messageOf } from '../errors.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** Whether the ports are ours, or free for us. */
export async function portsFinding(config: Config, isRunning: boolean): Promise<Finding> {
  const wanted = [
    { port: config.port, bind: config.bind, name: 'GANTRY_PORT' },
    ...(config.externalHaproxy
      ? []
      : [
          {
            port: config.httpPort,
            bind: config.httpBind === '*' ? '0.0.0.0' : config.httpBind,
            name: 'GANTRY_HTTP_PORT',
          },
        ]),
  ];
  if (isRunning) {
    const answer = await answerOfRouter(config);
    return answer === undefined
      ? ok('ports', `git and API on ${config.port}, apps on ${config.httpPort}`)
      : fail(
          'ports',
          `the router does not answer on port ${config.httpPort}: ${answer}`,
          'see the operator log',
        );
  }
  for (const { port, bind, name } of wanted) {
    const problem = await problemWithPort(port, bind);
    if (problem === 'EADDRINUSE')
      return fail(
        'ports',
        `port ${port} is used by something else`,
        `ss -ltnp "sport = :${port}"  or set ${name}`,
      );
    if (problem === 'EACCES')
      return fail('ports', `port ${port} is only for root`, `run Gantry as root or set ${name} above 1023`);
    if (problem !== undefined)
      return fail('ports', `nothing can listen on ${bind} port ${port}: ${problem}`, `set ${name}`);
  }
  return ok('ports', `${wanted.map(({ port }) => port).join(' and ')} are free`);
}

async function problemWithPort(port: number, host: string): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? messageOf(error)));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
}

/** Nothing for an answer that only our router gives to a host name nobody has. */
async function answerOfRouter(config: Config): Promise<string | undefined> {
  const host = config.httpBind === '*' || config.httpBind === '0.0.0.0' ? '127.0.0.1' : config.httpBind;
  return new Promise((resolve) => {
    const headers = { host: `nobody-${randomBytes(4).toString('hex')}.${config.domain}` };
    const asked = get({ host, port: config.httpPort, headers, timeout: 3000, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 404 ? undefined : `status ${answer.statusCode} for an unknown host`);
    });
    asked.on('error', (error) => resolve(messageOf(error)));
    asked.on('timeout', () => asked.destroy(new Error('no answer within 3 s')));
  });
}

/** Every app has a name of its own below the domain. */
export async function dnsFinding({ domain }: Config): Promise<Finding> {
  if (domain === 'localhost' || domain.endsWith('.localhost'))
    return ok('dns', `apps answer at <app>.${domain}, on this machine only; GANTRY_DOMAIN sets another`);
  const name = `doctor-${randomBytes(4).toString('hex')}.${domain}`;
  const found = await lookup(name, { all: true }).catch(() => []);
  return found.length > 0
    ? ok('dns', `*.${domain} is ${found.map(({ address }) => address).join(', ')}`)
    : warn('dns', `*.${domain} has no address`, `add a DNS record: *.${domain} A <address of this machine>`);
}
