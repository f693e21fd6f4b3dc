import { expect, it } from 'vitest';
import { argumentWarnings } from '../../src/docker/argument-warnings.ts';

it('names every argument that looks like a secret, and never a value', () => {
  expect(
    argumentWarnings(
      'ARG VERSION=1\nFROM x\nARG NPM_TOKEN=hunter2 DB_PASSWORD\nARG NPM_TOKEN\nARG PUBLIC_KEY',
    ),
  ).toEqual([
    'ARG NPM_TOKEN leaves its value in the history of the image: use RUN --mount=type=secret,id=NPM_TOKEN instead',
    'ARG DB_PASSWORD leaves its value in the history of the image: use RUN --mount=type=secret,id=DB_PASSWORD instead',
  ]);
});

it('says that the login of a registry is no build argument', () => {
  expect(argumentWarnings('FROM x\nARG CC_DOCKER_LOGIN_USERNAME')).toEqual([
    'ARG CC_DOCKER_LOGIN_USERNAME stays empty, a login is never a build argument: use RUN --mount=type=secret,id=CC_DOCKER_LOGIN_USERNAME instead',
  ]);
});
