import { describe, expect, test } from 'vitest';
import {
  asGiven,
  engineName,
  imageName,
  parseImageReference,
  showImage,
  showImageSource,
} from '../../src/domain/image-reference.ts';

const digest = `sha256:${'1a2b3c4d'.repeat(8)}`;

function parsed(text: string) {
  const reference = parseImageReference(text);
  if ('problem' in reference) throw new Error(`${text}: ${reference.problem}`);
  return reference;
}

describe('a reference', () => {
  test.each([
    ['nginx', 'nginx:latest', 'docker.io/library/nginx:latest'],
    ['library/nginx:1', 'nginx:1', 'docker.io/library/nginx:1'],
    ['ana/shop', 'ana/shop:latest', 'docker.io/ana/shop:latest'],
    ['docker.io/ana/shop:1.2', 'ana/shop:1.2', 'docker.io/ana/shop:1.2'],
    ['index.docker.io/library/nginx', 'nginx:latest', 'docker.io/library/nginx:latest'],
    ['ghcr.io/ana/shop:v1', 'ghcr.io/ana/shop:v1', 'ghcr.io/ana/shop:v1'],
    ['localhost/shop', 'localhost/shop:latest', 'localhost/shop:latest'],
    [
      'Registry.Example:5000/a/b__c/d-e',
      'registry.example:5000/a/b__c/d-e:latest',
      'registry.example:5000/a/b__c/d-e:latest',
    ],
    [`shop@${digest}`, `shop@${digest}`, `docker.io/library/shop@${digest}`],
    [`127.0.0.1:5000/shop:1@${digest}`, `127.0.0.1:5000/shop:1@${digest}`, `127.0.0.1:5000/shop@${digest}`],
  ])('%s is shown as %s, and asked for as %s', (text, shown, asked) => {
    const reference = parsed(text);
    expect(showImage(reference)).toBe(shown);
    expect(engineName(reference)).toBe(asked);
    expect(showImage(parsed(shown))).toBe(shown);
  });

  test.each([
    ['', 'is called like'],
    ['-v', 'hyphen'],
    ['--help', 'hyphen'],
    ['a b', 'no spaces'],
    ['a\nb', 'no spaces'],
    ['https://ghcr.io/ana/shop', 'https://'],
    ['Shop', 'lower case'],
    ['ghcr.io/Ana/shop', 'lower case'],
    ['shop:', 'tag'],
    [`shop:${'x'.repeat(129)}`, 'tag'],
    ['shop:-1', 'tag'],
    ['shop@sha256:12', '64 hexadecimal'],
    [`shop@${digest.toUpperCase()}`, '64 hexadecimal'],
    [`shop@sha512:${'a'.repeat(128)}`, 'sha256'],
    [`shop@${digest}@${digest}`, '64 hexadecimal'],
    ['ana:secret@ghcr.io/shop', '64 hexadecimal'],
    ['shop//a', 'lower-case letters'],
    ['/shop', 'lower-case letters'],
    ['shop/', 'lower-case letters'],
    ['../etc', 'no host'],
    ['a..b', 'lower-case letters'],
    ['$(id)', 'lower-case letters'],
    ['ghcr.io:99999/shop', 'no host'],
    ['a'.repeat(64), 'id of an image'],
    [`ghcr.io/${'x'.repeat(250)}`, '255'],
    ['x'.repeat(5000), '255'],
  ])('%j is none', (text, problem) => {
    expect(parseImageReference(text)).toEqual({ problem: expect.stringContaining(problem) as string });
  });

  test('is looked up again unless it says which digest it is', () => {
    expect(asGiven({ reference: 'shop:1', digest })).toEqual({ reference: 'shop:1', digest: undefined });
    expect(asGiven({ reference: `shop@${digest}`, digest })).toEqual({ reference: `shop@${digest}`, digest });
  });

  test('is shown in a word with the start of its digest', () => {
    expect(showImageSource({ reference: 'shop:1', digest })).toBe('shop:1@sha256:1a2b3c4d1a2b');
    expect(showImageSource({ reference: `shop@${digest}`, digest })).toBe('shop@sha256:1a2b3c4d1a2b');
    expect(showImageSource({ reference: 'shop:1', digest: undefined })).toBe('shop:1');
    expect(imageName(parsed('ghcr.io/ana/shop:1'))).toBe('ghcr.io/ana/shop');
  });
});
