/** The engine answered, and said no. */
export type EngineRefusal = { status: number; message: string };

/** `undefined` when the engine did not answer at all. */
export function refusalOf(error: unknown): EngineRefusal | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined;
  if (typeof error.statusCode !== 'number') return undefined;
  return { status: error.statusCode, message: withoutEnvelope(error.message) };
}

/** docker-modem wraps the engine's words in `(HTTP code 404) no such container - … `. */
function withoutEnvelope(message: string): string {
  return message
    .replace(/^\(HTTP code \d+\) .*? - /s, '')
    .trim()
    .replace(/\s*\n\s*/g, ' ');
}
