import { describe, expect, it } from 'vitest';
import { parseCredentials } from '../../src/domain/credentials.ts';

function basic(text: string | Buffer, scheme = 'Basic'): string {
  return `${scheme} ${Buffer.from(text).toString('base64')}`;
}

describe('credentials', () => {
  it.each([
    ['the usual header', basic('ana:secret'), 'ana', 'secret'],
    ['any case of the scheme', basic('ana:secret', 'bAsIc'), 'ana', 'secret'],
    ['colons in the password', basic('ana:a:b:'), 'ana', 'a:b:'],
    ['no user', basic(':secret'), '', 'secret'],
    ['UTF-8', basic('änne:パス'), 'änne', 'パス'],
    ['a long token', basic(`ana:${'x'.repeat(4000)}`), 'ana', 'x'.repeat(4000)],
    ['spaces around', `Basic   ${Buffer.from('a:b').toString('base64')}  `, 'a', 'b'],
  ])('understands %s', (_name, header, user, password) => {
    expect(parseCredentials(header)).toEqual({ user, password });
  });

  it.each([
    ['missing', undefined],
    ['empty', ''],
    ['no token', 'Basic'],
    ['no token but a space', 'Basic '],
    ['another scheme', 'Bearer abc'],
    ['two tokens', 'Basic YTpi YTpi'],
    ['not base64', 'Basic ????'],
    ['no colon', basic('ana')],
    ['no password', basic('ana:')],
    ['huge', basic('x'.repeat(64 * 1024))],
    ['no UTF-8', basic(Buffer.from([0x61, 0x3a, 0xff, 0xfe]))],
    ['a NUL', basic('ana:a\0b')],
    ['a line break', basic('ana:a\r\nX-Evil: 1')],
    ['a prototype', '__proto__'],
  ])('takes %s for none', (_name, header) => {
    expect(parseCredentials(header)).toBeUndefined();
  });
});
