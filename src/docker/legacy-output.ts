import {
  type BuildOutput,
  type BuildSummary,
  describeStep,
  errorOf,
  imageIdOf,
  isFrom,
} from './build-output.ts';
import type { BuildEvent } from './engine.ts';
import { LineBuffer } from './line-buffer.ts';

const stepLine = /^Step (\d+)\/(\d+) : (.*)$/s;
/** The builder's remarks about its own images and containers. */
const remark =
  /^( ---> ([0-9a-f]{12}|Running in [0-9a-f]{12})|Removing intermediate container [0-9a-f]{12})\n$/;
/** It prints what the command sent to stderr in red. */
const red = /^\x1b\[91m(.*)\x1b\[0m$/s; // oxlint-disable-line no-control-regex -- this is the escape sequence itself

export class LegacyOutput implements BuildOutput {
  /** The builder appends a LABEL instruction of its own for the labels in the request. */
  readonly #hasLabelStep: boolean;
  #stdout = new LineBuffer();
  #stderr = new LineBuffer();
  /** Announced with the next message, which says whether it came from the cache. */
  #pending: { position: string; instruction: string } | undefined;
  #instruction: string | undefined;
  /** The end of a step's line comes as a message of its own. */
  #isStepLineOpen = false;
  #isBaseLocal = false;
  #steps = 0;
  #cachedSteps = 0;
  #imageId: string | undefined;
  #failure: BuildSummary['failure'];

  constructor({ hasLabelStep }: { hasLabelStep: boolean }) {
    this.#hasLabelStep = hasLabelStep;
  }

  read(message: Record<string, unknown>): BuildEvent[] {
    const error = errorOf(message);
    if (error !== undefined) {
      this.#failure ??= { ...error, instruction: this.#instruction };
      return this.end();
    }
    if (typeof message.status === 'string') return this.#readPull(message);
    const imageId = imageIdOf(message);
    if (imageId !== undefined) {
      this.#imageId = imageId;
      return this.end();
    }
    return typeof message.stream === 'string' ? this.#readStream(message.stream) : [];
  }

  end(): BuildEvent[] {
    const events = [...this.#announce(false), ...asOutput([...this.#stdout.end(), ...this.#stderr.end()])];
    this.#stdout = new LineBuffer();
    this.#stderr = new LineBuffer();
    return events;
  }

  summary(): BuildSummary {
    return {
      imageId: this.#imageId,
      failure: this.#failure,
      steps: this.#steps,
      cachedSteps: this.#cachedSteps,
    };
  }

  #readStream(text: string): BuildEvent[] {
    const [, number, total, instruction] = stepLine.exec(text) ?? [];
    if (instruction !== undefined) return this.#beginStep(Number(number), Number(total), instruction);
    // Each stage ends with an image id. Until the next step the builder only repeats it ("Successfully built"), and lists
    // the build arguments nobody declared.
    if (this.#imageId !== undefined) return [];
    if (this.#isStepLineOpen && text === '\n') {
      this.#isStepLineOpen = false;
      return [];
    }
    if (this.#pending !== undefined && text === ' ---> Using cache\n') {
      this.#cachedSteps += 1;
      return this.#announce(true);
    }
    const events = this.#announce(false);
    if (remark.test(text)) return events;
    const [, errorText] = red.exec(text) ?? [];
    const lines = errorText === undefined ? this.#stdout.push(text) : this.#stderr.push(errorText);
    return [...events, ...asOutput(lines)];
  }

  #beginStep(number: number, total: number, instruction: string): BuildEvent[] {
    const events = this.end();
    this.#imageId = undefined;
    this.#isStepLineOpen = true;
    this.#instruction = instruction;
    if (this.#hasLabelStep && number === total) return events;
    this.#pending = { position: `${number}/${this.#hasLabelStep ? total - 1 : total}`, instruction };
    this.#steps += 1;
    this.#isBaseLocal = isFrom(instruction);
    if (this.#isBaseLocal) this.#cachedSteps += 1;
    return events;
  }

  /** Pulling a base image: its milestones, without the moving bars. */
  #readPull({ status, id, progressDetail }: Record<string, unknown>): BuildEvent[] {
    if (this.#isBaseLocal) this.#cachedSteps -= 1;
    this.#isBaseLocal = false;
    if (progressDetail !== undefined && status !== 'Pull complete') return [];
    const text = typeof id === 'string' ? `${id}: ${String(status)}` : String(status);
    return [...this.#announce(false), { kind: 'output', text }];
  }

  #announce(isCached: boolean): BuildEvent[] {
    const step = this.#pending;
    if (step === undefined) return [];
    this.#pending = undefined;
    return [{ kind: 'step', text: describeStep(step.position, step.instruction, isCached) }];
  }
}

function asOutput(lines: string[]): BuildEvent[] {
  return lines.map((text) => ({ kind: 'output', text }));
}
