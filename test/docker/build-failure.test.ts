import { expect, it } from 'vitest';
import { explainFailure } from '../../src/docker/build-failure.ts';
import { errorOf } from '../../src/docker/build-output.ts';

it.each([
  ['Docker 20.10', 'executor failed running [/bin/sh -c npm ci]: exit code: 17'],
  ['Docker 26', 'process "/bin/sh -c npm ci" did not complete successfully: exit code: 17'],
])('says what failed with which exit code, in the words of %s', (_, message) => {
  const failure = { message, ...errorOf({ error: message }), instruction: 'RUN npm ci' };
  expect(explainFailure(failure, '')).toEqual({
    ok: false,
    reason: 'RUN npm ci exited with code 17',
    command: 'RUN npm ci',
    exitCode: 17,
  });
});

it.each([
  [
    'failed to read downloaded context: failed to load cache key: write /data/overlay2/x/diff/context: no space left on device',
    undefined,
    '',
  ],
  [
    'failed to copy files: copy file range failed: no space left on device',
    'COPY large /x',
    'COPY large /x: ',
  ],
])('says that the disk of the engine is full: %s', (message, instruction, where) => {
  expect(explainFailure({ message, instruction }, '')).toEqual({
    ok: false,
    reason: `${where}the disk of the Docker engine is full; free space there: docker system prune`,
    isDiskFull: true,
  });
});

it('takes the exit code of the legacy builder from beside the message', () => {
  const error = "The command '/bin/sh -c npm ci' returned a non-zero code: 7";
  expect(errorOf({ error, errorDetail: { code: 7, message: error } })).toEqual({
    message: error,
    exitCode: 7,
  });
});

it.each([
  [
    'failed to compute cache key: "/missing" not found: not found',
    'COPY missing /x',
    'COPY missing /x: /missing is not in the repository, or .dockerignore excludes it',
  ],
  [
    'COPY failed: file not found in build context or excluded by .dockerignore: stat missing: file does not exist',
    'COPY missing /x',
    'COPY failed: file not found in build context or excluded by .dockerignore: stat missing: file does not exist',
  ],
  [
    'failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 1: unknown instruction: FRM',
    undefined,
    'line 1: unknown instruction: FRM',
  ],
  ['two\nlines', undefined, 'two lines'],
])('puts %j in one line', (message, instruction, reason) => {
  expect(explainFailure({ message, instruction }, 'FROM x').reason).toBe(reason);
});

it('keeps a long instruction whole: values in it have to be hidden before it is cut', () => {
  const instruction = `RUN ${'x'.repeat(1000)}`;
  const { reason, command } = explainFailure({ message: 'm', exitCode: 1, instruction }, '');
  expect(reason).toBe(`${instruction} exited with code 1`);
  expect(command).toBe(instruction);
});

it.each([
  'failed to solve with frontend dockerfile.v0: failed to solve with frontend gateway.v0: failed to do request: Head "https://registry-1.docker.io/v2/docker/dockerfile/manifests/1": dial tcp: no such host',
  'failed to solve: failed to resolve source metadata for docker.io/docker/dockerfile:1: dial tcp: no such host',
])('explains a frontend that cannot be pulled: %s', (message) => {
  const { reason } = explainFailure({ message }, '# syntax=docker/dockerfile:1\nFROM x');
  expect(reason).toContain('"# syntax=docker/dockerfile:1"');
  expect(reason).toContain('no such host');
});
