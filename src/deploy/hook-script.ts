import { constants } from 'node:fs';
import { access, lstat, open, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { safeText } from '../domain/safe-text.ts';

/** A file of the repository that a hook is or begins with, as it was found after the hook had failed. */
export type ScriptFacts = {
  path: string;
  found: 'missing' | 'folder' | 'file';
  isExecutable: boolean;
  hasWindowsLineEnds: boolean;
  /** What its `#!` line asks for and this machine does not have. */
  missingInterpreter: string | undefined;
};

/** The first word of a command when it may be a file: `./scripts/migrate.sh --x` gives `./scripts/migrate.sh`. */
export function firstWord(command: string): string | undefined {
  return /^\s*([\w@%+,./-]+)(?=[\s;&|]|$)/.exec(command)?.[1];
}

/** A hook may be the name of a file in the repository: `migrate.sh` means ./migrate.sh, which sh would look for in PATH. */
export async function asCommand(command: string, folder: string): Promise<string> {
  const word = firstWord(command);
  if (word === undefined || word.includes('/')) return command;
  const isFile = await lstat(join(folder, word)).then(
    (entry) => entry.isFile(),
    () => false,
  );
  return isFile ? `./${command.trimStart()}` : command;
}

/** Looks at the script of a hook that failed. Nothing when the hook does not begin with a path in the repository. */
export async function scriptFacts(
  command: string,
  folder: string,
  checkout: string,
  path: string,
): Promise<ScriptFacts | undefined> {
  const word = firstWord(command);
  if (word === undefined || !word.includes('/') || word.startsWith('/')) return undefined;
  const name = word.replace(/^(\.\/+)+/, '');
  const facts: ScriptFacts = {
    path: name,
    found: 'missing',
    isExecutable: false,
    hasWindowsLineEnds: false,
    missingInterpreter: undefined,
  };
  // The hook may have put links there: nothing outside the checkout is ever read for it.
  const real = await realpath(join(folder, name)).catch(() => undefined);
  if (real === undefined) return facts;
  if (relative(await realpath(checkout), real).startsWith('..')) return undefined;
  const entry = await lstat(real);
  if (entry.isDirectory()) return { ...facts, found: 'folder' };
  if (!entry.isFile()) return undefined;
  const head = await readHead(real);
  const interpreter = /^#![ \t]*([^\s]+)(?:[ \t]+([^\s]+))?/.exec(head);
  const wanted = interpreter?.[1]?.endsWith('/env') ? interpreter[2] : interpreter?.[1];
  return {
    ...facts,
    found: 'file',
    isExecutable: (entry.mode & 0o111) !== 0,
    hasWindowsLineEnds: /^[^\n]*\r\n/.test(head),
    missingInterpreter: wanted !== undefined && !(await canRun(wanted, path)) ? wanted : undefined,
  };
}

/** What is wrong with the script, in words; nothing when it is not to blame. */
export function explainScript(
  facts: ScriptFacts,
  exitCode: number,
): { reason: string; hints: string[] } | undefined {
  const name = safeText(facts.path, 80);
  const notStarted = exitCode === 126 || exitCode === 127;
  if (facts.found === 'missing') {
    if (!notStarted) return undefined;
    return {
      reason: `there is no ${name} in the repository`,
      hints: [`is it committed?  git ls-files ${name}`],
    };
  }
  if (facts.found === 'folder') {
    return notStarted ? { reason: `${name} is a folder, not a script`, hints: [] } : undefined;
  }
  if (facts.hasWindowsLineEnds) {
    return {
      reason: `${name} has Windows line ends (CRLF), which no shell understands`,
      hints: [`sed -i 's/\\r$//' ${name}  and in .gitattributes:  ${name} text eol=lf`],
    };
  }
  if (!notStarted) return undefined;
  if (!facts.isExecutable) {
    return {
      reason: `${name} is not executable`,
      hints: [`git update-index --chmod=+x ${name}  then commit and push`],
    };
  }
  if (facts.missingInterpreter !== undefined) {
    return {
      reason: `${name} asks for ${safeText(facts.missingInterpreter, 60)} in its #! line, which is not on this machine`,
      hints: ['hooks run on the host, not in your image'],
    };
  }
  return undefined;
}

async function readHead(file: string): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, 0);
    return buffer.subarray(0, bytesRead).toString('utf8');
  } finally {
    await handle.close();
  }
}

async function canRun(program: string, path: string): Promise<boolean> {
  const places = program.includes('/') ? [program] : path.split(':').map((folder) => join(folder, program));
  for (const place of places) {
    const found = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
