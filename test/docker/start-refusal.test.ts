import { expect, it } from 'vitest';
import { explainInitExit, explainRefusal, lostPlace } from '../../src/docker/start-refusal.ts';

it.each([
  ['No command specified', 'the image has no command: add CMD to the Dockerfile'],
  ['No such image: web:1', 'the image web:1 is gone from the engine'],
  ['Address already in use', 'its address in the network is in use by another container'],
  [
    'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown',
    'cannot start "nope": it is not in the image, or its interpreter is not',
  ],
  ['failed to create shim task: OCI runtime create failed: something else: unknown', 'something else'],
  [
    'write /data/overlay2/x-init/link: no space left on device',
    'the disk of the Docker engine is full; free space there: docker system prune',
  ],
  [
    'connection error: desc = "transport: Error while dialing dial unix /var/run/docker/containerd/containerd.sock: connect: connection refused": unavailable',
    'the Docker engine has lost containerd, which comes back within seconds; try again',
  ],
  [
    'transport is closing: unavailable',
    'the Docker engine has lost containerd, which comes back within seconds; try again',
  ],
  [
    'connection closed: unavailable',
    'the Docker engine has lost containerd, which comes back within seconds; try again',
  ],
  ['invalid IP address', 'invalid IP address'],
])('explains %j', (message, reason) => {
  expect(explainRefusal(message, 'web:1')).toBe(reason);
});

it.each([
  [
    127,
    'No such file or directory',
    'cannot start "/app/run": it is not in the image, or its interpreter is not',
  ],
  [
    126,
    'Exec format error',
    'cannot start "/app/run": it is built for another processor, or lacks its "#!" line',
  ],
  [126, 'Permission denied', 'cannot start "/app/run": the file is not executable'],
  [126, 'Argument list too long', 'cannot start "/app/run": Argument list too long'],
])('explains exit code %i of init: %s', (code, cause, reason) => {
  expect(explainInitExit(code, [`[FATAL tini (7)] exec /app/run failed: ${cause}`])).toBe(reason);
});

it('leaves a crash of the app to others', () => {
  expect(explainInitExit(127, ['/bin/sh: nope: not found'])).toBeUndefined();
  expect(explainInitExit(1, ['[FATAL tini (7)] exec x failed: No such file or directory'])).toBeUndefined();
  expect(explainInitExit(127, [])).toBeUndefined();
});

it.each([
  ['Address already in use', 'address'],
  ['network gantry-1-web not found', 'network'],
  ['network gantry-1-web.v6-0 not found', undefined],
  ['No such image: web:1', undefined],
])('knows what of its place %j has lost', (message, lost) => {
  expect(lostPlace(message, 'gantry-1-web')).toBe(lost);
});
