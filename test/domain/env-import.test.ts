import { describe, expect, test } from 'vitest';
import { formatExpert, parseEnvImport } from '../../src/domain/env-import.ts';

const tricky: Record<string, string> = {
  PLAIN: 'value',
  EMPTY: '',
  QUOTES: `a "double" and a 'single' one`,
  LINES: 'first\nsecond\n\nlast\n',
  HASH: '# no comment',
  EQUALS: 'a=b=c',
  SLASHES: 'C:\\path\\to',
  SLASH_QUOTE: '\\"\\\\"',
  SLASH_END: 'ends with \\',
  SPACES: '  kept  ',
  DOLLAR: '$HOME `id` $(id)',
  UNICODE: 'Grüße 🚀',
};

describe('an import', () => {
  test('of simple lines takes values as they are', () => {
    expect(
      parseEnvImport('\uFEFFA=1\r\n\n# a comment\n  # another\nB= two words \nexport C=a=b\nEMPTY='),
    ).toEqual({
      env: { A: '1', B: ' two words ', C: 'a=b', EMPTY: '' },
    });
  });

  test('of the expert format takes quoted values over several lines', () => {
    const text = `A="one"\nB='it\\'s'\nC="first\nsecond \\"quoted\\"\n"\nexport D="four";\n`;
    expect(parseEnvImport(text)).toEqual({
      env: { A: 'one', B: "it's", C: 'first\nsecond "quoted"\n', D: 'four' },
    });
  });

  test('of JSON takes pairs and objects', () => {
    const pairs = Object.entries(tricky).map(([name, value]) => ({ name, value }));
    expect(parseEnvImport(JSON.stringify(pairs, null, 2))).toEqual({ env: tricky });
    expect(parseEnvImport(`\n${JSON.stringify(tricky)}`)).toEqual({ env: tricky });
  });

  test('reads back what was written', () => {
    expect(parseEnvImport(formatExpert(tricky))).toEqual({ env: tricky });
    for (const name of Object.keys(tricky)) {
      const only = { [name]: tricky[name] ?? '' };
      expect(parseEnvImport(formatExpert(only))).toEqual({ env: only });
    }
  });

  test.each([
    ['no equals sign', 'A=1\nhello', [/^line 2: is not NAME=value$/]],
    ['a bad name', '1A=x\nB-C=y', [/^line 1: "1A": the name/, /^line 2: "B-C"/]],
    ['a name twice', 'A=1\n\nA=2', [/^line 3: A is there twice$/]],
    ['an open quote', 'A="one\nB=2', [/^line 1: the " of A is never closed$/]],
    ['text behind a quote', 'A="one" two', [/^line 1: something follows the closing " of A$/]],
    ['broken JSON', '[{"name":', [/^not valid JSON/]],
    ['a number', '[{"name":"A","value":1},{"name":"B","value":"b"},null]', [/^entry 1: must be/, /^entry 3/]],
    ['a NUL', '{"A":"a\\u0000b"}', [/NUL/]],
  ])('with %s is refused, and the line is named', (_what, text, problems) => {
    expect(parseEnvImport(text)).toEqual({
      problems: problems.map((problem) => expect.stringMatching(problem)),
    });
  });
});
