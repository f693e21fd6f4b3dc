import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { maskValues } from '../../src/domain/mask.ts';

const secret = 'p@ss word/"quoted"';

describe('values of variables in a log', () => {
  test.each([
    ['as it is', secret],
    ['in the middle', `x${secret}y`],
    ['URL-encoded', encodeURIComponent(secret)],
    ['JSON-escaped', JSON.stringify(secret).slice(1, -1)],
    ['base64', Buffer.from(secret).toString('base64')],
  ])('are hidden %s', (_how, text) => {
    const masked = maskValues({ SECRET: secret })(`before ${text} after`);
    expect(masked).toMatch(/^before .*\(hidden\).* after$/);
    expect(masked).not.toContain(text);
  });

  test('are hidden line by line when they have several', () => {
    const mask = maskValues({ KEY: '-----BEGIN KEY-----\nMIIabcdefgh\nshort\n' });
    expect(['-----BEGIN KEY-----', 'MIIabcdefgh', 'short'].map(mask)).toEqual([
      '(hidden)',
      '(hidden)',
      'short',
    ]);
  });

  test('are hidden also where a long one was cut', () => {
    const long = Array.from({ length: 1000 }, (_, index) => `${index}-`).join('');
    const cut = maskValues({ LONG: long })(long.slice(0, 2100));
    expect(cut.replaceAll('(hidden)', '').length).toBeLessThan(200);
  });

  test('are hidden also as programs print texts', () => {
    const value = `a "quoted" \\ and 'single'`;
    const mask = maskValues({ QUOTED: value, OTHER: "it's a \\ secret" });
    expect(mask(inspect({ value }))).toBe('{ value: `(hidden)` }');
    expect(mask(`{'value': 'a "quoted" \\\\ and \\'single\\''}`)).toBe("{'value': '(hidden)'}");
    expect(mask(inspect(["it's a \\ secret"]))).toBe('[ "(hidden)" ]');
  });

  test('short ones stay: hiding them would shred the log', () => {
    expect(maskValues({ A: 'true', B: '1234567' })('true 1234567')).toBe('true 1234567');
  });

  test('of settings stay, but not of settings that are secrets', () => {
    const mask = maskValues({
      CC_DOCKERFILE: 'docker/Dockerfile',
      CC_DOCKER_LOGIN_PASSWORD: 'registry-password',
    });
    expect(mask('docker/Dockerfile registry-password')).toBe('docker/Dockerfile (hidden)');
  });

  test('with characters that mean something in a pattern are taken literally', () => {
    expect(maskValues({ X: '.*.*.*.*' })('abcdefgh .*.*.*.*')).toBe('abcdefgh (hidden)');
    expect(maskValues({ X: 'a|b|c|d|e' })('a b a|b|c|d|e')).toBe('a b (hidden)');
    expect(maskValues({ X: '[[[[((((\\\\$^' })('x [[[[((((\\\\$^ y')).toBe('x (hidden) y');
  });
});
