import { z } from 'zod';
import { smallestMemory } from '../../domain/app-options.ts';

const cells = z.number().int().min(1).max(10_000);

const terminalSizeShape = z.strictObject({ columns: cells, rows: cells });

/** What a person's terminal says; the answers come as the same with parts of `output`, `errors` or `closed`. */
export const terminalMessageShape = z.strictObject({
  first: z.number().int().min(1),
  parts: z
    .array(
      z.union([
        z.strictObject({ input: z.base64().max(100_000) }),
        z.strictObject({ resize: terminalSizeShape }),
        z.strictObject({ end: z.literal(true) }),
      ]),
    )
    .max(256),
  received: z.number().int().min(0),
  handled: z.number().int().min(0),
  hello: z.boolean().optional(),
});

export const taskShape = z.object({
  number: z.number(),
  state: z.enum(['PENDING', 'RUNNING', 'CANCELING', 'SUCCEEDED', 'FAILED']),
  command: z.array(z.string()),
  name: z.string().nullable(),
  /** Bytes; `null` is as much as an instance has. */
  memory: z.number().nullable(),
  by: z.string(),
  cron: z.number().nullable(),
  /** In a terminal of whoever asked for it, or with their streams. */
  interactive: z.boolean(),
  /** The one it runs in; `null`: in a container of its own. */
  instance: z.number().nullable(),
  exitCode: z.number().nullable(),
  reason: z.string().nullable(),
  createdAt: z.string(),
  endedAt: z.string().nullable(),
});

export const tasksShape = z.object({ tasks: z.array(taskShape) });

const screenShape = terminalSizeShape.extend({ kind: z.string().regex(/^[\w.+-]{1,64}$/) });

export const newTaskShape = z.strictObject({
  command: z.array(z.string()),
  name: z
    .string()
    .regex(
      /^[\w.-]{1,100}$/,
      'the name of a task has 1 to 100 letters, digits, dots, hyphens and underscores',
    )
    .optional(),
  /** Bytes. */
  memory: z.number().int().min(smallestMemory).optional(),
  /** What the command reads, in base64. */
  stdin: z.base64().max(1_400_000).optional(),
  /** Its input and output go through `…/terminal` then. */
  terminal: screenShape.optional(),
});

/** Its input and output go through the `…/terminal` of the task it becomes. */
export const execShape = z.strictObject({
  command: z.array(z.string()),
  instance: z.number().int().min(0).max(1000).default(0),
  /** Whose container: one that failed may have been kept. Default: the live release. */
  deployment: z.number().int().min(1).optional(),
  terminal: screenShape.optional(),
});

export const cronShape = z.object({
  cron: z.array(
    z.object({
      schedule: z.string(),
      command: z.string(),
      next: z.string().nullable(),
      last: taskShape.nullable(),
      skippedAt: z.string().nullable(),
    }),
  ),
});
