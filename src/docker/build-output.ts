import type { BuildEvent } from './engine.ts';

/** What one builder's messages have said so far. */
export type BuildSummary = {
  /** Only a build that names its image has succeeded; the HTTP status is 200 either way. */
  imageId?: string;
  failure?: BuildFailure;
  steps: number;
  cachedSteps: number;
};

/** A failure in the builder's own words. */
export type BuildFailure = {
  message: string;
  exitCode?: number;
  /** The Dockerfile instruction, such as `RUN npm ci`, when the failure belongs to one. */
  instruction?: string;
};

/** Turns one builder's messages into events that look the same for both builders. */
export interface BuildOutput {
  read(message: Record<string, unknown>): BuildEvent[];
  /** What was still waiting for the end of its line. */
  end(): BuildEvent[];
  summary(): BuildSummary;
}

/** `aux` carries the image: `{ID}` from the legacy builder, the same under `moby.image.id` from BuildKit. */
export function imageIdOf(message: Record<string, unknown>): string | undefined {
  const { aux } = message;
  if (typeof aux !== 'object' || aux === null || !('ID' in aux) || typeof aux.ID !== 'string')
    return undefined;
  return aux.ID;
}

/** The legacy builder says the exit code beside the message, BuildKit only at the end of it. */
export function errorOf(
  message: Record<string, unknown>,
): { message: string; exitCode?: number } | undefined {
  const { error, errorDetail } = message;
  const detail = typeof errorDetail === 'object' && errorDetail !== null ? errorDetail : {};
  const said = 'message' in detail && typeof detail.message === 'string' ? detail.message : error;
  if (typeof said !== 'string') return undefined;
  const code =
    'code' in detail && typeof detail.code === 'number'
      ? detail.code
      : Number(/exit code: (\d+)\s*$/.exec(said)?.[1] ?? 0);
  return code === 0 ? { message: said } : { message: said, exitCode: code };
}

export function describeStep(position: string, instruction: string, isCached: boolean): string {
  return `[${position}] ${instruction}${isCached && !isFrom(instruction) ? ' (cached)' : ''}`;
}

/** The builders disagree on whether a base image is cached; for us it is, unless it had to be pulled. */
export function isFrom(instruction: string): boolean {
  return /^FROM\s/i.test(instruction);
}
