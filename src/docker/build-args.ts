import { isKeptFromBuilds } from '../domain/build-argument.ts';
import { declaredArguments } from '../domain/dockerfile.ts';

/** The kernel's limit for one `NAME=value` of a process, its closing NUL included. */
const longestVariable = 131_072;
/** The engine refuses a request line with headers beyond 1 MiB; it counts percent-encoded bytes. */
const longestQuery = 900_000;
/** What RUN sees without an ARG line. */
const predeclared = /^(https?|ftp|no|all)_proxy$/i;

type Selection = { ok: true; buildArgs: Record<string, string> } | { ok: false; reason: string };

/**
 * Which variables travel with the build: all of them while they fit, else only the declared ones. A value too long for
 * a process fails every RUN of a Dockerfile that declares it and means nothing to any other.
 */
export function selectBuildArgs(variables: Readonly<Record<string, string>>, dockerfile: string): Selection {
  const declared = declaredArguments(dockerfile);
  const isDeclared = (name: string): boolean => declared.has(name) || predeclared.test(name);
  const entries = Object.entries(variables).filter(([name]) => !isKeptFromBuilds(name));

  const tooLong = entries.filter(([name, value]) => Buffer.byteLength(`${name}=${value}`) >= longestVariable);
  const [blocking] = tooLong.filter(([name]) => isDeclared(name));
  if (blocking !== undefined) {
    const [name, value] = blocking;
    const size = Math.ceil(Buffer.byteLength(value) / 1024);
    return {
      ok: false,
      reason: `the variable ${name} is too long for a build argument: ${size} KiB, the limit is 128 KiB`,
    };
  }

  const fitting = entries.filter((entry) => !tooLong.includes(entry));
  if (encodedLength(fitting) <= longestQuery) return { ok: true, buildArgs: Object.fromEntries(fitting) };
  const needed = fitting.filter(([name]) => isDeclared(name));
  if (encodedLength(needed) <= longestQuery) return { ok: true, buildArgs: Object.fromEntries(needed) };

  const [largest] = needed.toSorted((a, b) => encodedLength([b]) - encodedLength([a]));
  return {
    ok: false,
    reason: `the build arguments are too long together; the largest is ${largest?.[0]}`,
  };
}

function encodedLength(entries: [string, string][]): number {
  return encodeURIComponent(JSON.stringify(Object.fromEntries(entries))).length;
}
