import dockerignore from '@balena/dockerignore';

export type IgnoreRules = {
  excludes(path: string): boolean;
  /** With exceptions nothing below an excluded folder is sure to be excluded. */
  hasExceptions: boolean;
};

/** Rules of a .dockerignore as the docker CLI understands them; `undefined` when a pattern is malformed. */
export function parseIgnoreRules(text: string): IgnoreRules | undefined {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map(escapeLiterals);
  const matcher = dockerignore.default({ ignorecase: false }).add(lines);
  try {
    matcher.ignores('probe');
  } catch {
    return undefined;
  }
  return {
    excludes: (path) => matcher.ignores(path),
    hasExceptions: lines.some((line) => line.trimStart().startsWith('!')),
  };
}

/** The package makes a regular expression of each pattern and forgets these; `app/(shop)` is a common folder name. */
function escapeLiterals(line: string): string {
  return line.replace(/\\.|[+(){}|]/g, (found) => (found.startsWith('\\') ? found : `\\${found}`));
}
