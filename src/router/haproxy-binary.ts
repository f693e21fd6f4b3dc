import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { parseAlerts, parseVersion } from './haproxy-replies.ts';

const run = promisify(execFile);

/** The first of these that exists: an ordinary user's PATH on Debian leaves out /usr/sbin, where haproxy is. */
const usualPlaces = ['haproxy', '/usr/sbin/haproxy', '/usr/local/sbin/haproxy'];

/** The oldest version with `option idle-close-on-response`, without which a reload resets idle clients. */
const oldest = [2, 6] as const;

/** Finds an HAProxy that is new enough, or says what to do. */
export async function findHaproxy(wanted?: string): Promise<string> {
  for (const binary of wanted === undefined ? usualPlaces : [wanted]) {
    const output = await versionOutput(binary);
    if (output === undefined) continue;
    const version = parseVersion(output);
    if (version === undefined) throw new Error(`${binary} is not haproxy: "${binary} -v" printed no version`);
    const [major, minor] = version;
    if (major < oldest[0] || (major === oldest[0] && minor < oldest[1])) {
      throw new Error(
        `${binary} is version ${major}.${minor}; Gantry needs haproxy ${oldest.join('.')} or later`,
      );
    }
    return binary;
  }
  const where = wanted === undefined ? 'haproxy was not found on PATH' : `${wanted} was not found`;
  throw new Error(`${where}; install it: apt-get install haproxy`);
}

/** Throws with HAProxy's reason when it refuses the file. */
export async function checkConfig(binary: string, path: string): Promise<void> {
  try {
    await run(binary, ['-c', '-f', path]);
  } catch (error) {
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
    throw new Error(`HAProxy refused its configuration: ${parseAlerts(output)}`, { cause: error });
  }
}

async function versionOutput(binary: string): Promise<string | undefined> {
  try {
    return (await run(binary, ['-v'])).stdout;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new Error(`"${binary} -v" failed`, { cause: error });
  }
}
