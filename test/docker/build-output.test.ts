import { describe, expect, it } from 'vitest';
import type { BuildOutput } from '../../src/docker/build-output.ts';
import { BuildkitOutput } from '../../src/docker/buildkit-output.ts';
import { LegacyOutput } from '../../src/docker/legacy-output.ts';
import { buildkitFailure, legacyTwoStages } from './recorded-builds.ts';

function told(output: BuildOutput, messages: Record<string, unknown>[]): string[] {
  const events = [...messages.flatMap((message) => output.read(message)), ...output.end()];
  return events.map(({ kind, text }) => `${kind}: ${text}`);
}

describe('the output of BuildKit', () => {
  it('is steps and whole lines, and the failure names its instruction', () => {
    const output = new BuildkitOutput();
    expect(told(output, buildkitFailure)).toEqual([
      'step: [1/3] FROM probe/bb:1',
      'step: [2/3] RUN echo a; echo err >&2; printf par; sleep 1; echo tial',
      'output: a',
      'output: err',
      'output: partial',
      'step: [3/3] RUN cat /nope; exit 7',
      "output: cat: can't open '/nope': No such file or directory",
    ]);
    expect(output.summary()).toEqual({
      imageId: undefined,
      failure: {
        message: 'executor failed running [/bin/sh -c cat /nope; exit 7]: exit code: 7',
        exitCode: 7,
        instruction: 'RUN cat /nope; exit 7',
      },
      steps: 3,
      cachedSteps: 1,
    });
  });

  it('reads a message it has seen before without telling it twice', () => {
    const output = new BuildkitOutput();
    const repeated = buildkitFailure.slice(0, 3).flatMap((message) => [message, message]);
    expect(told(output, repeated)).toHaveLength(2);
  });

  it('takes the image from its own message only', () => {
    const output = new BuildkitOutput();
    told(output, [{ stream: 'Successfully built 0123456789ab\n' }]);
    expect(output.summary().imageId).toBeUndefined();
    told(output, [{ id: 'moby.image.id', aux: { ID: 'sha256:abc' } }]);
    expect(output.summary().imageId).toBe('sha256:abc');
  });
});

describe('the output of the legacy builder', () => {
  it('is steps and whole lines without the remarks of the builder, in all stages', () => {
    const output = new LegacyOutput({ hasLabelStep: true });
    expect(told(output, legacyTwoStages)).toEqual([
      'step: [1/4] FROM base AS first',
      'step: [2/4] RUN make (cached)',
      'step: [3/4] FROM base',
      'step: [4/4] RUN echo a; echo err >&2; printf par; sleep 1; echo tial; echo',
      'output: a',
      'output: err',
      'output: partial',
      'output: ',
    ]);
    expect(output.summary()).toEqual({
      imageId: `sha256:${'2'.repeat(64)}`,
      failure: undefined,
      steps: 4,
      cachedSteps: 3,
    });
  });

  it('has no image while a stage is being built', () => {
    const output = new LegacyOutput({ hasLabelStep: false });
    const nextStage = legacyTwoStages.findIndex(({ stream }) => String(stream).startsWith('Step 3'));
    told(output, legacyTwoStages.slice(0, nextStage + 1));
    expect(output.summary().imageId).toBeUndefined();
  });

  it('does not take what an app prints for its own words', () => {
    const output = new LegacyOutput({ hasLabelStep: false });
    const lines = ['Successfully built wheel\n', ' ---> not an id\n', 'Step by step\n'];
    const messages = [
      { stream: 'Step 1/1 : RUN x' },
      { stream: '\n' },
      ...lines.map((stream) => ({ stream })),
    ];
    expect(told(output, messages).slice(1)).toEqual([
      'output: Successfully built wheel',
      'output:  ---> not an id',
      'output: Step by step',
    ]);
  });

  it('shows the milestones of a pull, and counts that step as not cached', () => {
    const output = new LegacyOutput({ hasLabelStep: false });
    const messages = [
      { stream: 'Step 1/1 : FROM node:20' },
      { stream: '\n' },
      { status: 'Pulling from library/node', id: '20' },
      { status: 'Downloading', progressDetail: { current: 1, total: 2 }, progress: '[=> ]', id: 'abc' },
      { status: 'Pull complete', progressDetail: {}, id: 'abc' },
      { status: 'Status: Downloaded newer image for node:20' },
    ];
    expect(told(output, messages)).toEqual([
      'step: [1/1] FROM node:20',
      'output: 20: Pulling from library/node',
      'output: abc: Pull complete',
      'output: Status: Downloaded newer image for node:20',
    ]);
    expect(output.summary().cachedSteps).toBe(0);
  });
});
