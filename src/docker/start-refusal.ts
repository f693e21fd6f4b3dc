import { explainFullDisk } from './full-disk.ts';

/** Why a container did not start, as one line for people; the engine's words carry the layers they came through. */
export function explainRefusal(message: string, image: string): string {
  if (/no command specified/i.test(message)) return 'the image has no command: add CMD to the Dockerfile';
  if (/^no such image/i.test(message)) return `the image ${image} is gone from the engine`;
  if (isAddressTaken(message)) return 'its address in the network is in use by another container';
  const full = explainFullDisk(message);
  if (full !== undefined) return full;
  if (isContainerdAway(message))
    return 'the Docker engine has lost containerd, which comes back within seconds; try again';
  const command = /exec: "([^"]+)"/.exec(message)?.[1];
  if (command !== undefined) {
    const known = explainExec(command, message);
    if (known !== undefined) return known;
  }
  return message.replace(/^.*(OCI runtime create failed: )/s, '').replace(/: unknown$/, '');
}

export function isContainerdAway(message: string): boolean {
  return /\b(connection (error|closed)|transport is closing)\b.*: unavailable$/s.test(message.trim());
}

/** Which part of its place in the network a container did not find. */
export function lostPlace(message: string, network: string): 'address' | 'network' | undefined {
  if (isAddressTaken(message)) return 'address';
  return message.includes(`network ${network} not found`) ? 'network' : undefined;
}

export function isAddressTaken(message: string): boolean {
  return /address already in use/i.test(message);
}

/**
 * The init inside the container starts the app's command, so the engine believes the start succeeded when the command
 * is missing: only init's exit code and last words tell.
 */
export function explainInitExit(exitCode: number | undefined, output: readonly string[]): string | undefined {
  if (exitCode !== 126 && exitCode !== 127) return undefined;
  const [, command, cause] =
    /^\[FATAL tini \(\d+\)\] exec (.*) failed: (.*)$/.exec(output.at(-1) ?? '') ?? [];
  if (command === undefined || cause === undefined) return undefined;
  return explainExec(command, cause) ?? `cannot start "${command}": ${cause}`;
}

function explainExec(command: string, cause: string): string | undefined {
  if (/not found|no such file/i.test(cause)) {
    if (command === 'sh') return 'the image has no sh, which a command given to Gantry is run with';
    return `cannot start "${command}": it is not in the image, or its interpreter is not`;
  }
  if (/permission denied/i.test(cause)) return `cannot start "${command}": the file is not executable`;
  if (/exec format error/i.test(cause)) {
    return `cannot start "${command}": it is built for another processor, or lacks its "#!" line`;
  }
  return undefined;
}
