import { expect, test } from 'vitest';
import { pageFiles } from '../../src/router/pages.ts';

test('the plain page says what is wrong', () => {
  expect(pageFiles().get('no-release.txt')).toBe(
    'This app is not answering.\nThe app is starting, has no live release, or its container does not accept connections. Try again in a moment.\n',
  );
});

test('a whole answer states the length of its body', () => {
  for (const [name, text] of pageFiles()) {
    if (!name.endsWith('.http')) continue;
    const [head = '', body = ''] = text.split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 50[234] /);
    expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}\r\n`);
  }
});
