import { describe, expect, it } from 'vitest';
import { parseIgnoreRules } from '../../src/docker/ignore-rules.ts';

describe('.dockerignore', () => {
  it.each<[string, string[], string[]]>([
    ['node_modules', ['node_modules/a', 'node_modules/b/c'], ['src/node_modules/a', 'node_modules2']],
    ['**/node_modules', ['node_modules/a', 'src/node_modules/a'], ['src/a']],
    ['*\n!src\n!package.json', ['a', 'b/c'], ['src/a', 'src/b/c', 'package.json']],
    ['a\n!a/keep\n!a/b/**', ['a/x', 'a/keeper'], ['a/keep', 'a/keep/x', 'a/b/c/d']],
    ['!a\na', ['a', 'a/x'], ['b']],
    ['*.log\n!important.log', ['x.log'], ['important.log', 'deep/x.log']],
    ['**/*.log\n!**/important.log', ['x.log', 'a/b/x.log'], ['a/b/important.log']],
    ['/root\n./here\nfolder/', ['root/x', 'here', 'folder/x'], ['a/root', 'a/folder/x']],
    ['# comment\n\n   spaced   \n#x', ['spaced'], ['# comment', '#x']],
    ['README.md', ['README.md'], ['readme.md']],
    ['a?c\n[x-z]1\nfile[!0-9]', ['abc', 'y1'], ['ac', 'a/c', 'w1']],
    ['app/(shop)\nc++\na{b}|c', ['app/(shop)/page', 'c++/x', 'a{b}|c'], ['app/shop/page', 'ccc']],
    ['\\#literal', ['#literal'], ['literal']],
    ['..\n.\n/', [], ['a']],
  ])('%j', (text, excluded, included) => {
    const rules = parseIgnoreRules(text);
    for (const path of excluded) expect([path, rules?.excludes(path)]).toEqual([path, true]);
    for (const path of included) expect([path, rules?.excludes(path)]).toEqual([path, false]);
  });

  it('tells whether there are exceptions, and when a pattern cannot be read', () => {
    expect(parseIgnoreRules('a\n !b')?.hasExceptions).toBe(true);
    expect(parseIgnoreRules('a\n#!b')?.hasExceptions).toBe(false);
    expect(parseIgnoreRules('[a')).toBeUndefined();
  });
});
