import { describe, expect, it } from 'vitest';
import { safeText, sanitiseOutput } from '../../src/domain/safe-text.ts';

describe('one-line text from outside', () => {
  it.each([
    ['plain', 'plain'],
    ['Größe パス 👍 "q" \\', 'Größe パス 👍 "q" \\'],
    ['a\nb\tc', 'a\\u000ab\\u0009c'],
    ['\u001b[31mred\u001b[0m', '\\u001b[31mred\\u001b[0m'],
    ['\u202egnp.exe', '\\u202egnp.exe'],
    ['zero\u200bwidth\ufeff', 'zero\\u200bwidth\\ufeff'],
    ['isolate\u2066x', 'isolate\\u2066x'],
    ['c1\u009b', 'c1\\u009b'],
    ['lines\u2028\u2029', 'lines\\u2028\\u2029'],
    ['tag\u{e0041}', 'tag\\u{e0041}'],
    ['lone\ud800', 'lone\\ud800'],
    ['filler\u3164', 'filler\\u3164'],
    ['', ''],
  ])('shows %j as %j', (text, shown) => {
    expect(safeText(text)).toBe(shown);
  });

  it('is cut without breaking a character', () => {
    expect(safeText('x'.repeat(100))).toBe('x'.repeat(100));
    expect(safeText('x'.repeat(101))).toBe(`${'x'.repeat(97)}...`);
    expect(safeText('👍'.repeat(20), 10)).toBe(`${'👍'.repeat(7)}...`);
    expect(safeText('\u001b'.repeat(1000)).length).toBeLessThanOrEqual(100);
  });
});

describe('a line that a build printed', () => {
  it.each([
    ['plain\ttext', 'plain\ttext'],
    ['Größe パス 👍 \u200d\u202e', 'Größe パス 👍 \u200d\u202e'],
    ['\u001b[1;31mred\u001b[0m', 'red'],
    ['\u001b[38:2::1:2:3mx', 'x'],
    ['a\u001b[2Kb\u001b[1Ac', 'abc'],
    ['\u001b]0;title\u0007text', 'text'],
    ['\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\', 'link'],
    ['\u001bPq#0\u001b\\x', 'x'],
    ['\u001b]0;never ends', ''],
    ['\u001b]0;cut\u001b[31mred', 'red'],
    ['\u001b(Bx\u001b=y\u001bcz', 'xyz'],
    ['\u009b31mx\u009d0;t\u009cy\u0085', 'xy'],
    ['cut off \u001b[3', 'cut off '],
    ['cut off \u001b', 'cut off '],
    ['10%\r50%\r100%', '100%'],
    ['10%\r100%\r', '100%'],
    ['dos\r\n', 'dos'],
    ['\u001b[32m10%\r\u001b[32mdone\u001b[0m\r\u001b[K', 'done'],
    ['bell\u0007 nul\0', 'bell nul'],
    ['back\u0008 form\u000c del\u007f', 'back\\x08 form\\x0c del\\x7f'],
    ['', ''],
  ])('%j becomes %j', (line, shown) => {
    expect(sanitiseOutput(line)).toBe(shown);
  });

  it('takes no longer for a hostile line', () => {
    const start = performance.now();
    for (const piece of ['\u001b]', '\u001b[', '\u001b[;', '\r', '\u001bP', '\u009d'])
      sanitiseOutput(piece.repeat(200_000));
    expect(performance.now() - start).toBeLessThan(2000);
  });
});
