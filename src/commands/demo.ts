import { execFile, spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Config, dataPaths, readConfig } from '../config.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * The whole of Gantry in a minute: a small app is pushed with the real git client, answers through the router, is
 * changed and pushed again. Uses the Gantry that runs here, else one of its own in a folder that is removed afterwards.
 */
export async function demo(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gantry-demo-'));
  const gantry = (await runningGantry()) ?? (await startOwn(folder));
  try {
    await show(gantry.config, join(folder, 'hello'));
  } finally {
    await gantry.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function show(config: Config, repository: string): Promise<void> {
  const app = 'hello-demo';
  await cp(join(root, 'test/fixtures/apps/hello'), repository, { recursive: true });
  await cp('/bin/busybox', join(repository, 'busybox'));
  const git = (...args: string[]) =>
    run('git', ['-C', repository, '-c', 'user.name=Demo', '-c', 'user.email=demo@example.com', ...args]);
  const page = (text: string) => writeFile(join(repository, 'www/index.html'), `<h1>${text}</h1>\n`);
  const stamp = new Date().toISOString();

  await page(`Hello from Gantry, first version of ${stamp}`);
  await git('init', '--quiet', '--initial-branch=main');
  const token = (await readFile(dataPaths(config.dataDir).token, 'utf8')).trim();
  const [scheme = 'http', host = ''] = config.url.split('://');
  await git('remote', 'add', 'clever', `${scheme}://gantry:${token}@${host}/${app}.git`);
  await git('add', '.');
  await git('commit', '--quiet', '--message', 'Say hello');
  const first = await push(repository, ['--force']);
  await showAnswer(config, app);

  await page(`Hello again, second version of ${stamp}`);
  await git('commit', '--quiet', '--all', '--message', 'Say hello again');
  const second = await push(repository, []);
  await showAnswer(config, app);

  console.log(
    `\nfirst push: ${first.toFixed(1)}s, second push: ${second.toFixed(1)}s, from "git push" to its return, live`,
  );
}

/** Runs the command as a visitor would see it, and returns how many seconds it took. */
async function push(repository: string, options: readonly string[]): Promise<number> {
  console.log(`\n$ git push clever main`);
  const began = performance.now();
  const child = spawn('git', ['-C', repository, 'push', ...options, 'clever', 'main'], { stdio: 'inherit' });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error('the push failed; what git printed above says why');
  return (performance.now() - began) / 1000;
}

async function showAnswer(config: Config, app: string): Promise<void> {
  const host = `${app}.${config.domain}`;
  console.log(`\n$ curl http://${host}:${config.httpPort}`);
  // Not every resolver knows that names below "localhost" are this machine.
  const text = await new Promise<string>((resolve, reject) => {
    get({ host: '127.0.0.1', port: config.httpPort, headers: { host } }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += String(chunk);
      });
      response.on('end', () => resolve(body));
    }).on('error', reject);
  });
  process.stdout.write(text);
}

type Gantry = { config: Config; stop: () => Promise<void> };

async function runningGantry(): Promise<Gantry | undefined> {
  const config = readConfig(process.env);
  const answers = await fetch(`${config.url}/healthz`).then(
    (response) => response.ok,
    () => false,
  );
  const hasToken = await readFile(dataPaths(config.dataDir).token, 'utf8').catch(() => '');
  if (!answers || hasToken === '') return undefined;
  console.log(`using the Gantry at ${config.url}`);
  return { config, stop: async () => {} };
}

async function startOwn(folder: string): Promise<Gantry> {
  const env = {
    ...process.env,
    GANTRY_DATA: join(folder, 'data'),
    GANTRY_PORT: String(await freePort()),
    GANTRY_HTTP_PORT: String(await freePort()),
    GANTRY_HTTP_BIND: '127.0.0.1',
  };
  console.log('starting a Gantry of its own for this demo');
  const cli = fileURLToPath(
    new URL(import.meta.url.endsWith('.ts') ? '../cli.ts' : '../cli.js', import.meta.url),
  );
  const child = spawn(process.execPath, [...process.execArgv, cli, 'start'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      if (String(chunk).includes('Gantry is ready')) resolve();
    });
    void exited.then(() => reject(new Error('Gantry did not start')));
  });
  const config = readConfig(env);
  return {
    config,
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      await run(process.execPath, [...process.execArgv, cli, 'down', '--apps'], { env });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}
