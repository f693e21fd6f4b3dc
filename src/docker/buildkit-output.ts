import {
  type BuildOutput,
  type BuildSummary,
  describeStep,
  errorOf,
  imageIdOf,
  isFrom,
} from './build-output.ts';
import { decodeTrace, type Vertex, type VertexLog, type VertexStatus } from './buildkit-trace.ts';
import type { BuildEvent } from './engine.ts';
import { LineBuffer } from './line-buffer.ts';

/** `[build 2/5] RUN npm ci`; everything else, `[internal]` and `exporting to image`, is BuildKit's own business. */
const stepName = /^\[(?!internal\])([^\]]*\d+\/\d+)\] (.*)$/s;

/** Looking up a base image fails in a vertex that is otherwise hidden. */
const baseImageName = /^\[internal\] load metadata for (.*)$/;

type Step = { position: string; instruction: string; isAnnounced: boolean; isCached: boolean };

export class BuildkitOutput implements BuildOutput {
  readonly #steps = new Map<string, Step>();
  readonly #lines = new Map<string, Map<number, LineBuffer>>();
  readonly #pulled = new Set<string>();
  readonly #warned = new Set<string>();
  #failedInstruction: string | undefined;
  #imageId: string | undefined;
  #error: { message: string; exitCode?: number } | undefined;

  read(message: Record<string, unknown>): BuildEvent[] {
    if (message.id === 'moby.buildkit.trace' && typeof message.aux === 'string') {
      return this.#readTrace(message.aux);
    }
    this.#imageId ??= imageIdOf(message);
    this.#error ??= errorOf(message);
    return [];
  }

  end(): BuildEvent[] {
    return [...this.#lines.keys()].flatMap((vertex) => this.#endLines(vertex));
  }

  summary(): BuildSummary {
    const announced = [...this.#steps.values()].filter((step) => step.isAnnounced);
    return {
      imageId: this.#imageId,
      failure: this.#error && { ...this.#error, instruction: this.#failedInstruction },
      steps: announced.length,
      cachedSteps: announced.filter((step) => step.isCached).length,
    };
  }

  #readTrace(base64: string): BuildEvent[] {
    const { vertexes, statuses, logs, warnings } = decodeTrace(base64);
    const events: BuildEvent[] = [];
    for (const vertex of vertexes) events.push(...this.#announce(vertex));
    for (const status of statuses) events.push(...this.#reportPull(status));
    for (const log of logs) events.push(...this.#readLog(log));
    // The last line of a command may have no end, and its vertex completes in the same message as it.
    for (const vertex of vertexes) if (vertex.hasCompleted) events.push(...this.#endLines(vertex.digest));
    for (const { text } of warnings) {
      if (this.#warned.has(text)) continue;
      this.#warned.add(text);
      events.push({ kind: 'warning', text });
    }
    return events;
  }

  #announce(vertex: Vertex): BuildEvent[] {
    const [, position, written] = stepName.exec(vertex.name) ?? [];
    if (position === undefined || written === undefined) {
      const [, image] = baseImageName.exec(vertex.name) ?? [];
      if (image !== undefined && vertex.error !== '') this.#failedInstruction ??= shortened(`FROM ${image}`);
      return [];
    }
    const instruction = shortened(written);
    const step = this.#steps.get(vertex.digest) ?? {
      position,
      instruction,
      isAnnounced: false,
      isCached: isFrom(instruction),
    };
    this.#steps.set(vertex.digest, step);
    step.isCached ||= vertex.isCached;
    if (vertex.error !== '' && !isCancellation(vertex.error)) this.#failedInstruction ??= instruction;
    if (step.isAnnounced || !(vertex.hasStarted || vertex.isCached)) return [];
    step.isAnnounced = true;
    return [{ kind: 'step', text: describeStep(position, instruction, step.isCached) }];
  }

  /** Pulling a base image can take minutes: one line per layer that has arrived. */
  #reportPull(status: VertexStatus): BuildEvent[] {
    if (!status.hasCompleted || status.totalBytes === 0 || !status.id.startsWith('sha256:')) return [];
    if (this.#pulled.has(status.id)) return [];
    this.#pulled.add(status.id);
    const step = this.#steps.get(status.vertex);
    if (step !== undefined) step.isCached = false;
    const layer = status.id.slice('sha256:'.length, 'sha256:'.length + 12);
    return [{ kind: 'output', text: `pulled layer ${layer}, ${(status.totalBytes / 1e6).toFixed(1)} MB` }];
  }

  #readLog(log: VertexLog): BuildEvent[] {
    const streams = this.#lines.get(log.vertex) ?? new Map<number, LineBuffer>();
    this.#lines.set(log.vertex, streams);
    const buffer = streams.get(log.stream) ?? new LineBuffer();
    streams.set(log.stream, buffer);
    return asOutput(buffer.push(log.bytes));
  }

  #endLines(vertex: string): BuildEvent[] {
    const streams = [...(this.#lines.get(vertex)?.values() ?? [])];
    this.#lines.delete(vertex);
    return streams.flatMap((buffer) => asOutput(buffer.end()));
  }
}

/** BuildKit writes out the registry that people leave away. */
function shortened(instruction: string): string {
  return instruction.replace(/^FROM docker\.io\/(library\/)?/, 'FROM ');
}

/** When one step fails, those running beside it are cancelled; they are not the cause. */
function isCancellation(error: string): boolean {
  return /context canceled\s*$/.test(error);
}

function asOutput(lines: string[]): BuildEvent[] {
  return lines.map((text) => ({ kind: 'output', text }));
}
