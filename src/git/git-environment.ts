import { access, constants, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type GitSettings = {
  /** Where the settings file for git is written. */
  folder: string;
  /** Unix socket of the HookSocket, where git's hook asks what to do. */
  hookSocket: string;
  maxPushBytes: number;
};

/** The same two levels up from src/git and from dist/git. */
const hooksFolder = fileURLToPath(new URL('../../hooks', import.meta.url));

/**
 * Gives every git that this process starts our settings and nobody else's. Call once, before the first request:
 * node-git-server starts git with the environment of this process.
 */
export async function prepareGitProcess(settings: GitSettings): Promise<void> {
  await access(join(hooksFolder, 'proc-receive'), constants.X_OK).catch((error: unknown) => {
    throw new Error(`git cannot run its hook; type: chmod +x ${hooksFolder}/proc-receive`, { cause: error });
  });
  await mkdir(settings.folder, { recursive: true, mode: 0o700 });
  const file = configFile(settings);
  await writeFile(`${file}.new`, gitConfig(settings));
  await rename(`${file}.new`, file);

  for (const name of Object.keys(process.env)) if (/^(GIT_|PERL)/.test(name)) delete process.env[name];
  Object.assign(process.env, gitEnvironment(settings));
  // Files of a checkout get the modes that git defines.
  process.umask(0o022);
}

function gitEnvironment(settings: GitSettings): Record<string, string> {
  return {
    LC_ALL: 'C.UTF-8',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: configFile(settings),
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    GANTRY_HOOK_SOCKET: settings.hookSocket,
  };
}

/** All settings in one file; no repository has any of its own. */
function gitConfig({ maxPushBytes }: Pick<GitSettings, 'maxPushBytes'>): string {
  return `# Written by Gantry at every start; changes are lost.
[safe]
  directory = *
[core]
  hooksPath = ${quoted(hooksFolder)}
  attributesFile = /dev/null
  fsync = committed,reference
  # Those of a push in quarantine are the refs of the repository itself, which git knows anyway.
  alternateRefsCommand = true
[receive]
  # Every ref goes to the hook: one place decides.
  procReceiveRefs = refs
  advertisePushOptions = true
  # Correct only because the hook lets git move the refs.
  shallowUpdate = true
  unpackLimit = 1
  maxInputSize = ${maxPushBytes}
  fsckObjects = true
  autogc = false
  # Below the read time-out of any proxy, so that a silent build is not cut.
  keepAlive = 5
[receive "fsck"]
  # Old and harmless mistakes in many histories.
  zeroPaddedFilemode = ignore
  badTimezone = ignore
  missingSpaceBeforeDate = ignore
[transfer]
  hideRefs = refs/gantry
[uploadpack]
  allowFilter = true
[gc]
  auto = 0
`;
}

function configFile({ folder }: Pick<GitSettings, 'folder'>): string {
  return join(folder, 'gitconfig');
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
