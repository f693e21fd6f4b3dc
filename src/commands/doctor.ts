import { readFile } from 'node:fs/promises';
import { type Config, dataPaths, readConfig } from '../config.ts';
import { DockerodeEngine } from '../docker/dockerode-engine.ts';
import { dnsFinding, portsFinding } from '../doctor/addresses.ts';
import { backupFinding } from '../doctor/backup.ts';
import { diskFindings, secretsFinding } from '../doctor/data-folder.ts';
import { engineFindings, forgottenFinding } from '../doctor/engine.ts';
import { type Finding, fail, ok } from '../doctor/finding.ts';
import { clockFinding, gitFinding, haproxyFinding, hooksFinding } from '../doctor/programs.ts';
import { redisFinding } from '../doctor/redis.ts';
import {
  isRunning,
  readToken,
  serverFinding,
  silenceFinding,
  urlFindings,
} from '../doctor/running-server.ts';
import { messageOf } from '../errors.ts';
import { UsageError } from './exit-code.ts';
import { printJson } from './print.ts';

/** In seconds; a minute is what nginx, HAProxy and most load balancers come with. */
const longestUsualPatience = 65;

/** What this machine has and lacks for a server. Looks only; nothing is started, written or repaired. */
export async function doctor(options: { json?: boolean; slow?: string | true }): Promise<void> {
  const findings = await examine(readConfig(process.env), secondsOf(options.slow));
  if (options.json) printJson(findings);
  else
    for (const finding of findings) {
      console.log(`${finding.state.padEnd(5)} ${finding.check.padEnd(13)} ${finding.detail}`);
      if (finding.state !== 'ok') console.log(`${''.padEnd(19)} -> ${finding.fix}`);
    }
  if (findings.some(({ state }) => state === 'fail')) process.exitCode = 1;
}

function secondsOf(slow: string | true | undefined): number | undefined {
  if (slow === undefined || slow === true) return slow && longestUsualPatience;
  const seconds = Number(slow);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 240)
    throw new UsageError(`"${slow}" is no time: write 1 to 240 seconds`);
  return seconds;
}

async function examine(config: Config, silence: number | undefined): Promise<Finding[]> {
  const engine = new DockerodeEngine({ socketPath: config.dockerSocket });
  try {
    const runs = await isRunning(config);
    const token = runs ? await readToken(config) : undefined;
    const storeId = await readFile(dataPaths(config.dataDir).storeId, 'utf8').catch(() => '');
    const facts = await engine.facts().catch(() => undefined);
    const found = await Promise.all(
      [
        gitFinding(),
        engineFindings(config, engine),
        redisFinding(config),
        haproxyFinding(config),
        hooksFinding(config),
        diskFindings(config, facts?.storageFolder),
        clockFinding(async () => facts?.time),
        secretsFinding(config),
        backupFinding(config),
        portsFinding(config, runs),
        dnsFinding(config),
        ...(facts ? [forgottenFinding(engine, storeId.trim())] : []),
        ...(token === undefined ? [] : [serverFinding(config, token)]),
        ...(token === undefined || silence === undefined ? [] : [silenceFinding(config, token, silence)]),
        ...(runs
          ? [urlFindings(config, token)]
          : [Promise.resolve(ok('server', 'it does not run: npm start'))]),
      ].map(neverThrow),
    );
    return found.flat();
  } finally {
    await engine.close();
  }
}

async function neverThrow(finding: Promise<Finding | Finding[]>): Promise<Finding | Finding[]> {
  return finding.catch((error: unknown) =>
    fail('doctor', messageOf(error), 'this is a bug of Gantry; please report it'),
  );
}
