import { readFields } from './protobuf.ts';

/** A node of the build graph. The engine repeats it whenever something about it changes. */
export type Vertex = {
  digest: string;
  name: string;
  isCached: boolean;
  hasStarted: boolean;
  hasCompleted: boolean;
  error: string;
};

/** Progress of a part of a vertex, such as one layer being pulled. */
export type VertexStatus = { vertex: string; id: string; totalBytes: number; hasCompleted: boolean };

/** A portion of what a command printed; portions are not lines. */
export type VertexLog = { vertex: string; stream: number; bytes: Uint8Array };

type VertexWarning = { vertex: string; text: string };

export type BuildkitTrace = {
  vertexes: Vertex[];
  statuses: VertexStatus[];
  logs: VertexLog[];
  warnings: VertexWarning[];
};

/** Decodes the `aux` of a `moby.buildkit.trace` message: moby.buildkit.v1.StatusResponse in base64. */
export function decodeTrace(base64: string): BuildkitTrace {
  const trace: BuildkitTrace = { vertexes: [], statuses: [], logs: [], warnings: [] };
  for (const { number, value } of readFields(Buffer.from(base64, 'base64'))) {
    if (typeof value === 'bigint') continue;
    if (number === 1) trace.vertexes.push(decodeVertex(value));
    else if (number === 2) trace.statuses.push(decodeStatus(value));
    else if (number === 3) trace.logs.push(decodeLog(value));
    else if (number === 4) trace.warnings.push(decodeWarning(value));
  }
  return trace;
}

function decodeVertex(bytes: Uint8Array): Vertex {
  const vertex: Vertex = {
    digest: '',
    name: '',
    isCached: false,
    hasStarted: false,
    hasCompleted: false,
    error: '',
  };
  for (const { number, value } of readFields(bytes)) {
    if (number === 1) vertex.digest = text(value);
    else if (number === 3) vertex.name = text(value);
    else if (number === 4) vertex.isCached = value !== 0n;
    else if (number === 5) vertex.hasStarted = true;
    else if (number === 6) vertex.hasCompleted = true;
    else if (number === 7) vertex.error = text(value);
  }
  return vertex;
}

function decodeStatus(bytes: Uint8Array): VertexStatus {
  const status: VertexStatus = { vertex: '', id: '', totalBytes: 0, hasCompleted: false };
  for (const { number, value } of readFields(bytes)) {
    if (number === 1) status.id = text(value);
    else if (number === 2) status.vertex = text(value);
    else if (number === 5) status.totalBytes = Number(value);
    else if (number === 8) status.hasCompleted = true;
  }
  return status;
}

function decodeLog(bytes: Uint8Array): VertexLog {
  const log: VertexLog = { vertex: '', stream: 1, bytes: new Uint8Array() };
  for (const { number, value } of readFields(bytes)) {
    if (number === 1) log.vertex = text(value);
    else if (number === 3) log.stream = Number(value);
    else if (number === 4 && typeof value !== 'bigint') log.bytes = value;
  }
  return log;
}

function decodeWarning(bytes: Uint8Array): VertexWarning {
  const warning: VertexWarning = { vertex: '', text: '' };
  for (const { number, value } of readFields(bytes)) {
    if (number === 1) warning.vertex = text(value);
    else if (number === 3) warning.text = text(value);
  }
  return warning;
}

function text(value: bigint | Uint8Array): string {
  return typeof value === 'bigint' ? String(value) : Buffer.from(value).toString('utf8');
}
