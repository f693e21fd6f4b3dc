import { expect, it } from 'vitest';
import { type CacheRecord, isContextLeftover } from '../../src/docker/build-cache.ts';

const tar: CacheRecord = {
  ID: 'a',
  Description: 'http url http://build-context-i47wqw3fhsm93hp004g0908tj',
  InUse: false,
  Shared: false,
  Parent: '',
};
const files: CacheRecord = { ...tar, Description: 'fileop target' };

it.each<[string, CacheRecord, boolean]>([
  ['the tar of a finished build', tar, true],
  ['the tar of a running build', { ...tar, InUse: true }, false],
  ['the files out of a tar', files, true],
  ['the files of a running build', { ...files, InUse: true }, false],
  ['a COPY on top of a layer', { ...files, Parent: 'b' }, false],
  ['the same on newer engines', { ...files, Parent: undefined, Parents: ['b'] }, false],
  ['a COPY that is part of an image FROM scratch', { ...files, Shared: true }, false],
  ['what a command made', { ...tar, Description: 'mount / from exec /bin/sh -c make' }, false],
])('drops or keeps %s', (_, record, isDropped) => {
  expect(isContextLeftover(record)).toBe(isDropped);
});
