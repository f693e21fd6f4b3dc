import { expect, test } from 'vitest';
import { describeBody } from '../../src/domain/audit.ts';

test.each([
  ['the names of variables, and which are taken away', { env: { A: 'secret', B: null } }, [], 'A -B'],
  [
    'a value in the place of a name is neither',
    { env: { 'A=secret': 'x' }, 'B=secret': 1 },
    [],
    '(no name) (no name)=1',
  ],
  ['values that were declared harmless', { kind: 'restart', note: 'secret' }, ['kind'], 'kind=restart note'],
  ['lists', { scopes: ['admin', 'read:a'], command: ['secret'] }, ['scopes'], 'scopes=admin,read:a command'],
  ['numbers and switches', { memory: 1, task: true, cpus: null }, ['cpus'], 'memory=1 task=true cpus=null'],
  ['nothing of what is no object', 'secret', [], ''],
  ['nor of a list', ['secret'], [], ''],
  ['nor of nothing', null, [], ''],
])('an entry tells %s', (_, body, shown, text) => {
  expect(describeBody(body, shown)).toBe(text);
});
