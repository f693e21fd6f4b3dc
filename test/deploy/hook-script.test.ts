import { describe, expect, test } from 'vitest';
import { explainScript, firstWord, type ScriptFacts } from '../../src/deploy/hook-script.ts';

describe('the first word of a hook', () => {
  test.each([
    ['migrate.sh', 'migrate.sh'],
    ['./scripts/migrate.sh --all', './scripts/migrate.sh'],
    ['scripts/a.sh && scripts/b.sh', 'scripts/a.sh'],
    ['  build.sh;x\necho two', 'build.sh'],
    ['$(evil)', undefined],
    ['"quoted name.sh"', undefined],
    ['FOO=bar ./x', undefined],
    ['echo-$HOME', undefined],
  ])('%j', (command, word) => {
    expect(firstWord(command)).toBe(word);
  });
});

describe('a script that failed', () => {
  const good: ScriptFacts = {
    path: 'scripts/migrate.sh',
    found: 'file',
    isExecutable: true,
    hasWindowsLineEnds: false,
    missingInterpreter: undefined,
  };
  test.each([
    [{ found: 'missing' }, 127, /there is no scripts\/migrate.sh in the repository/, /git ls-files/],
    [{ found: 'folder' }, 126, /is a folder/, /^$/],
    [{ isExecutable: false }, 126, /not executable/, /git update-index --chmod=\+x scripts\/migrate.sh/],
    [{ hasWindowsLineEnds: true }, 127, /Windows line ends/, /text eol=lf/],
    [{ hasWindowsLineEnds: true }, 2, /Windows line ends/, /text eol=lf/],
    [{ missingInterpreter: 'python9' }, 127, /asks for python9 in its #! line/, /on the host/],
  ] as const)('%j with exit code %i', (facts, code, reason, hint) => {
    const blame = explainScript({ ...good, ...facts }, code);
    expect(blame?.reason).toMatch(reason);
    expect(blame?.hints.join()).toMatch(hint);
  });

  test('is not blamed for what it did itself', () => {
    expect(explainScript(good, 127)).toBeUndefined();
    expect(explainScript({ ...good, isExecutable: false }, 1)).toBeUndefined();
    expect(explainScript({ ...good, found: 'missing' }, 1)).toBeUndefined();
  });
});
