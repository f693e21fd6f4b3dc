import { syntaxImage } from '../domain/dockerfile.ts';
import type { BuildFailure } from './build-output.ts';
import type { BuildResult } from './engine.ts';
import { explainFullDisk } from './full-disk.ts';

/** The builder's failure as one line for people, the same for both builders. */
export function explainFailure(
  { message, exitCode, instruction }: BuildFailure,
  dockerfile: string,
): Extract<BuildResult, { ok: false }> {
  const cause = withoutPrefixes(message);
  if (exitCode !== undefined && instruction !== undefined) {
    return {
      ok: false,
      reason: `${quote(instruction)} exited with code ${exitCode}`,
      command: instruction,
      exitCode,
    };
  }
  const full = explainFullDisk(message);
  if (full !== undefined) {
    const reason = instruction === undefined ? full : `${quote(instruction)}: ${full}`;
    return { ok: false, reason, isDiskFull: true };
  }
  if (instruction !== undefined) {
    const secret = /\bsecret (\S+?):? not found\b/.exec(cause)?.[1];
    if (secret !== undefined) {
      const reason = `${quote(instruction)}: the secret ${secret} is no variable of the app`;
      return { ok: false, reason, command: instruction, exitCode };
    }
    const missing = /"([^"]+)":? not found/.exec(cause)?.[1];
    const reason =
      missing !== undefined && /^(COPY|ADD)\s/i.test(instruction)
        ? `${quote(instruction)}: ${missing} is not in the repository, or .dockerignore excludes it`
        : cause.startsWith(instruction.split(' ', 1)[0] ?? '')
          ? cause
          : `${quote(instruction)}: ${cause}`;
    return { ok: false, reason, command: instruction, exitCode };
  }
  const frontend = syntaxImage(dockerfile);
  if (frontend !== undefined && mentions(message, frontend)) {
    return {
      ok: false,
      reason:
        `the Dockerfile's first line "# syntax=${frontend}" makes BuildKit pull an image, which failed: ` +
        `remove that line, or set CC_DOCKER_BUILDX=false (${cause})`,
    };
  }
  return { ok: false, reason: cause, exitCode };
}

/** Each layer of the builder puts its own words in front of the cause. */
function withoutPrefixes(message: string): string {
  const prefix =
    /^(failed to solve( with frontend [\w.]+)?|failed to create LLB definition|failed to compute cache key|failed to calculate checksum of ref [^:]+(::\S+)?|rpc error: code = \w+ desc =|dockerfile parse error|failed to create shim task|OCI runtime create failed|runc create failed|unable to start container process):? /;
  let cause = message.trim().replace(/\s*\n\s*/g, ' ');
  while (prefix.test(cause)) cause = cause.replace(prefix, '');
  return cause.replace(/: unknown$/, '');
}

/** The message has the image's name as it was written, or the address that was asked for it. */
function mentions(message: string, image: string): boolean {
  const registry = /^(localhost|[^/]*[.:][^/]*)\//;
  const repository = image.replace(registry, '').replace(/(:[^/]*)?(@.*)?$/, '');
  return message.includes(repository);
}

function quote(instruction: string): string {
  return instruction.replace(/\s+/g, ' ');
}
