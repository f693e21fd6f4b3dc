import { randomUUID } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Account } from '../domain/account.ts';
import type { App, AppName } from '../domain/app.ts';
import { problemWithCommand, type Task } from '../domain/task.ts';
import type { Screen, TerminalWish } from '../domain/terminal.ts';
import { UserError } from '../errors.ts';
import type { LogReader } from '../store/log-reader.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { TaskStore } from '../store/task-store.ts';
import type { TerminalChannels } from '../store/terminal-channel.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { acceptedShape, cancelShape } from './contract/deployments.ts';
import {
  cronShape,
  execShape,
  newTaskShape,
  taskShape,
  tasksShape,
  terminalMessageShape,
} from './contract/tasks.ts';
import { pageOf, pageQuery } from './paging.ts';
import { sendLog } from './send-log.ts';
import { sendTerminal } from './send-terminal.ts';

export type TaskRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  tasks: TaskStore;
  terminals: TerminalChannels;
  logs: LogReader;
  releases: ReleaseStore;
  nextTick: (app: AppName, entry: number) => Promise<Date | undefined>;
  wakeTaskWorker: (app: AppName, number: number) => Promise<void>;
};

const taskParams = appParams.extend({ number: z.coerce.number().int().positive() });

/** Commands that run once in a container of the live release. */
export function taskRoutes(deps: TaskRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/apps/:app/tasks',
      {
        config: { right: 'read' },
        schema: { params: appParams, querystring: pageQuery, response: { 200: tasksShape } },
      },
      async (request, reply) => {
        const app = await requireApp(deps, request.account, request.params.app);
        const tasks = await deps.tasks.list(app.name);
        return { tasks: pageOf(tasks, ({ number }) => number, request, reply).map(describe) };
      },
    );

    api.post(
      '/apps/:app/tasks',
      {
        config: { right: 'deploy', action: 'run task', shown: ['name'] },
        schema: { params: appParams, body: newTaskShape, response: { 202: acceptedShape } },
      },
      async ({ account, params, body }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const problem = problemWithCommand(body.command);
        if (problem) throw new UserError('INVALID', problem);
        if (app.live === undefined)
          throw new UserError(
            'CONFLICT',
            `${app.name} has no live release to run it in`,
            'git push clever main',
          );
        const number = await deps.tasks.request({
          app: app.name,
          command: body.command,
          ...(body.name !== undefined && { name: body.name }),
          ...(body.memory !== undefined && { memoryBytes: body.memory }),
          by: account.name,
          ...(body.stdin !== undefined && { stdin: Buffer.from(body.stdin, 'base64') }),
          ...(body.terminal && { terminal: talkWith(account, body.terminal) }),
        });
        await deps.wakeTaskWorker(app.name, number);
        const location = `/api/v1/apps/${app.name}/tasks/${number}`;
        return reply.status(202).header('location', location).send({ number });
      },
    );

    api.post(
      '/apps/:app/exec',
      {
        config: { right: 'deploy', action: 'exec', shown: ['instance', 'deployment'] },
        schema: { params: appParams, body: execShape, response: { 202: acceptedShape } },
      },
      async ({ account, params, body }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const { command, instance, deployment, terminal } = body;
        const problem = problemWithCommand(command);
        if (problem) throw new UserError('INVALID', problem);
        if (deployment === undefined && (app.live === undefined || app.stopped))
          throw new UserError(
            'CONFLICT',
            `nothing of ${app.name} runs`,
            app.stopped ? `gantry start ${app.name}` : 'git push clever main',
          );
        const number = await deps.tasks.request({
          app: app.name,
          command,
          place: { instance, ...(deployment !== undefined && { deployment }) },
          by: account.name,
          terminal: talkWith(account, terminal),
        });
        await deps.wakeTaskWorker(app.name, number);
        const location = `/api/v1/apps/${app.name}/tasks/${number}`;
        return reply.status(202).header('location', location).send({ number });
      },
    );

    api.get(
      '/apps/:app/tasks/:number',
      { config: { right: 'read' }, schema: { params: taskParams, response: { 200: taskShape } } },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        return describe(await requireTask(deps, app, params.number));
      },
    );

    api.post(
      '/apps/:app/tasks/:number/cancel',
      {
        config: { right: 'deploy', action: 'cancel task' },
        schema: { params: taskParams, response: { 200: cancelShape } },
      },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        const { number } = await requireTask(deps, app, params.number);
        return { result: await deps.tasks.cancel(app.name, number, account.name) };
      },
    );

    api.get(
      '/apps/:app/tasks/:number/terminal',
      { config: { right: 'deploy' }, schema: { params: taskParams } },
      async (request, reply) => {
        const { app, number, id } = await requireTerminal(deps, request.account, request.params);
        await sendTerminal(
          request,
          reply,
          (hear) => deps.terminals.listen(id, 'command', hear),
          (signal) => deps.logs.followTask(app, number, signal),
        );
        return reply;
      },
    );

    api.post(
      '/apps/:app/tasks/:number/terminal',
      {
        // Every key that is pressed is one.
        config: { right: 'deploy', action: false },
        schema: { params: taskParams, body: terminalMessageShape },
      },
      async ({ account, params, body }, reply) => {
        const { id } = await requireTerminal(deps, account, params);
        const { hello, ...message } = body;
        await deps.terminals.say(id, 'person', { ...message, ...(hello && { hello }) });
        return reply.status(204).send();
      },
    );

    api.get(
      '/apps/:app/cron',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: cronShape } } },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        const release = app.live === undefined ? undefined : await deps.releases.get(app.name, app.live);
        const runs = await deps.tasks.list(app.name);
        const cron = (release?.cron ?? []).map(async (entry, index) => {
          const last = runs.find((task) => task.cron === index);
          return {
            ...entry,
            next: app.stopped ? null : ((await deps.nextTick(app.name, index))?.toISOString() ?? null),
            last: last ? describe(last) : null,
            skippedAt: (await deps.tasks.lastSkip(app.name, index))?.toISOString() ?? null,
          };
        });
        return { cron: await Promise.all(cron) };
      },
    );

    api.get(
      '/apps/:app/tasks/:number/logs',
      { config: { right: 'read' }, schema: { params: taskParams } },
      async (request, reply) => {
        const { account, params } = request;
        const app = await requireApp(deps, account, params.app);
        const { number } = await requireTask(deps, app, params.number);
        await sendLog(request, reply, (signal) => deps.logs.followTask(app.name, number, signal));
        return reply;
      },
    );
  };
}

function talkWith({ tokenId: owner }: Account, screen?: Screen): TerminalWish {
  return { id: randomUUID(), owner, ...(screen && { screen }) };
}

async function requireTask({ tasks }: TaskRoutesDeps, app: App, number: number): Promise<Task> {
  const task = await tasks.get(app.name, number);
  if (!task) throw new UserError('NOT_FOUND', `there is no task ${number}`, 'list them: gantry tasks');
  return task;
}

/** A terminal is of the person who asked for it: passwords are typed into it. */
async function requireTerminal(
  deps: TaskRoutesDeps,
  account: Account,
  params: z.infer<typeof taskParams>,
): Promise<{ app: AppName; number: number; id: string }> {
  const app = await requireApp(deps, account, params.app);
  const { number, by, terminal } = await requireTask(deps, app, params.number);
  if (!terminal) throw new UserError('CONFLICT', `task ${number} has no terminal`);
  if (terminal.owner !== account.tokenId)
    throw new UserError('FORBIDDEN', `the terminal of task ${number} is ${by}'s`);
  return { app: app.name, number, id: terminal.id };
}

function describe({ number, state, command, by, ...task }: Task): z.infer<typeof taskShape> {
  return {
    number,
    state,
    command: [...command],
    name: task.name ?? null,
    memory: task.memoryBytes ?? null,
    by,
    cron: task.cron ?? null,
    interactive: task.terminal !== undefined,
    instance: task.place?.instance ?? null,
    exitCode: task.exitCode ?? null,
    reason: task.reason ?? null,
    createdAt: task.createdAt.toISOString(),
    endedAt: task.endedAt?.toISOString() ?? null,
  };
}
