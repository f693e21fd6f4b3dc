#!/usr/bin/env node
import { Argument, Command, CommanderError } from 'commander';
import { addAccountCommands } from './cli/account-commands.ts';
import { addAppCommands } from './cli/app-commands.ts';
import { addDeployCommands } from './cli/deploy-commands.ts';
import { addRouteCommands } from './cli/route-commands.ts';
import { addServerCommands } from './cli/server-commands.ts';
import { addServiceCommands } from './cli/service-commands.ts';
import { addTaskCommands } from './cli/task-commands.ts';
import { addWebhookCommands } from './cli/webhook-commands.ts';
import { version } from './version.ts';

/** Composition root of the command line. Commands load what they need themselves, so that the quick ones stay quick. */
const program = new Command('gantry')
  .description('git push-to-deploy server and its command line')
  .version(version())
  .enablePositionalOptions()
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text) });

addServerCommands(program);
addAppCommands(program);
addServiceCommands(program);
addRouteCommands(program);
addDeployCommands(program);
addTaskCommands(program);
addWebhookCommands(program);
addAccountCommands(program);

program
  .command('api')
  .description('any request to the API: gantry api GET /apps')
  .argument('<method>')
  .argument('<path>', 'below /api/v1; /api/openapi.json lists what there is')
  .option('-d, --data <json>', 'JSON; @file reads it from a file, - from standard input')
  .option(
    '-H, --header <line>',
    '"Idempotency-Key: 4711"; may be given more than once',
    (line, lines: string[]) => [...lines, line],
    [] as string[],
  )
  .action(async (method: string, path: string, options: { data?: string; header: string[] }) =>
    (await import('./commands/api.ts')).callApi(method, path, options),
  );
program
  .command('completion')
  .description('a script that completes commands, options and apps: source <(gantry completion bash)')
  .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
  .action(async (shell: string) => (await import('./commands/completion.ts')).completion(program, shell));
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    const { exitCodeFor } = await import('./commands/exit-code.ts');
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    const hint = (error as { hint?: string }).hint;
    if (hint) process.stderr.write(`hint: ${hint}\n`);
    // What a failed start has opened would keep it alive.
    process.exit(exitCodeFor(error));
  }
}
