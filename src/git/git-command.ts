import { type SimpleGitOptions, simpleGit } from 'simple-git';
import { messageOf } from '../errors.ts';
import { withErrorHandled } from './spawn-failure.ts';

export type GitPlace = {
  gitDir?: string;
  workTree?: string;
  indexFile?: string;
  /** Bytes for the command's standard input. */
  input?: string;
  signal?: AbortSignal;
  /** The command prints nothing. simple-git waits 50 ms more for such a one, so git is told to print a trace. */
  isSilent?: boolean;
};

/**
 * Runs one git command and returns what it printed. Arguments reach git as a list, never through a shell.
 * The server's own environment, the machine's git settings and the hooks of a repository have no influence on it.
 */
export async function runGit(args: readonly string[], place: GitPlace): Promise<string> {
  // A fresh instance each time: one instance runs its commands one after the other.
  const git = simpleGit({ ...hardened, baseDir: place.workTree ?? '/', ...dynamicOptions(place) });
  // Without free file descriptors simple-git trips over the missing streams before it listens for `error`.
  return withErrorHandled(async () => git.env(environment(place)).raw([...args]));
}

/** The message of the error when git answers "no" by its exit status alone. */
export const silentFailure = 'git said no';

const hardened: Partial<SimpleGitOptions> = {
  config: [
    'safe.directory=*',
    'core.hooksPath=/dev/null',
    'core.attributesFile=/dev/null',
    'core.fsync=committed,reference',
    'gc.auto=0',
  ],
  allowEnvironment: [
    'GIT_DIR',
    'GIT_WORK_TREE',
    'GIT_INDEX_FILE',
    'GIT_CONFIG_GLOBAL',
    'GIT_CONFIG_NOSYSTEM',
    'GIT_ATTR_NOSYSTEM',
    'GIT_NO_REPLACE_OBJECTS',
    'GIT_LITERAL_PATHSPECS',
    'GIT_TERMINAL_PROMPT',
    'GIT_TRACE',
  ],
  // The two settings that simple-git warns about, both used here to switch something off.
  unsafe: { allowUnsafeHooksPath: true, allowUnsafeConfigPaths: true, allowUnsafeTemplateDir: true },
  completion: { onClose: true, onExit: false },
  // By default simple-git takes a failure that prints nothing for a success, and what was printed for the message.
  errors(error, { exitCode }) {
    if (!error && exitCode === 0) return undefined;
    const message = error ? messageOf(error) : '';
    const said = withoutTrace(message);
    if (error && said !== '' && said === message) return error;
    return Buffer.from(said || (exitCode === 1 ? silentFailure : `git exited with ${exitCode}`));
  },
};

function withoutTrace(printed: string): string {
  return printed.replace(/^[\d:.]+ \S+\.c:\d+ +trace: .*\n/gm, '');
}

function dynamicOptions({ input, signal }: GitPlace): Partial<SimpleGitOptions> {
  return { ...(input !== undefined && { input: () => input }), ...(signal && { abort: signal }) };
}

function environment({ gitDir, workTree, indexFile, isSilent }: GitPlace): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    LC_ALL: 'C.UTF-8',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_LITERAL_PATHSPECS: '1',
    GIT_TERMINAL_PROMPT: '0',
    ...(isSilent && { GIT_TRACE: '1' }),
    ...(gitDir !== undefined && { GIT_DIR: gitDir }),
    ...(workTree !== undefined && { GIT_WORK_TREE: workTree }),
    ...(indexFile !== undefined && { GIT_INDEX_FILE: indexFile }),
  };
}
