import type { Command } from 'commander';
import type { NewTask } from '../commands/run.ts';
import { appOption } from './shared-options.ts';

type VisitOptions = { app?: string; instance?: string; deploy?: string; tty?: boolean; command?: string };

export function addTaskCommands(program: Command): void {
  program
    .command('run')
    .description('run a command in a container of the live release: gantry run [APP] -- rake db:migrate')
    .argument('<command...>')
    .option(...appOption)
    .option('--detach', 'return once it is queued')
    .option('--no-tty', 'without a terminal, as in a script: its output is kept as a log')
    .passThroughOptions()
    .action(async (words: string[], options: { app?: string; detach?: boolean; tty?: boolean }) => {
      // A word in front of the `--` is the app.
      const command = process.argv.slice(process.argv.indexOf('--') + 1);
      const hasApp = process.argv.includes('--') && words.length > command.length;
      const { optionsBehindApp, runCommand } = await import('../commands/run.ts');
      if (!hasApp) return runCommand(words, options);
      const [app, ...behind] = words.slice(0, words.length - command.length);
      return runCommand(command, { ...options, ...optionsBehindApp(behind), app });
    });
  function visitCommand(name: string): Command {
    return program
      .command(name)
      .option(...appOption)
      .option('-i, --instance <number>', 'as gantry ps counts them', '0')
      .option(
        '--deploy <number>',
        'the container of this deployment; one that failed is kept with CC_TROUBLESHOOT',
      );
  }
  visitCommand('exec')
    .description('run a command in a running container of an app: gantry exec [APP] -- ls -l /data')
    .argument('<command...>')
    .option('--no-tty', 'without a terminal, with our standard streams as they are')
    .action(async (words: string[], options: VisitOptions) => {
      const { exec, splitAtDashes } = await import('../commands/run.ts');
      const { app, command } = splitAtDashes(words);
      return exec(command, options, app);
    });
  visitCommand('ssh')
    .description('a shell in a running container of an app')
    .argument('[app]')
    .option('-c, --command <command>', 'for its sh -c, instead of a shell')
    .action(async (app: string | undefined, { command, ...options }: VisitOptions) => {
      const { exec, shell } = await import('../commands/run.ts');
      return exec(command === undefined ? shell : ['sh', '-c', command], options, app);
    });
  program
    .command('run-task')
    .description('run a command line in a container of the live release, as cf run-task does')
    .argument('<app>')
    .requiredOption('-c, --command <command>', 'for sh -c in the container')
    .option('--name <name>')
    .option('-m, --memory <size>', 'of its container (default: of an instance)')
    .option('-w, --wait', 'show its output, and end as it does')
    .option('--json')
    .action(async (app: string, options: NewTask) =>
      (await import('../commands/run.ts')).runTask(app, options),
    );
  program
    .command('task')
    .description('one task of an app')
    .argument('<app>')
    .argument('<number>')
    .option('--json')
    .action(async (app: string, number: string, options: { json?: boolean }) =>
      (await import('../commands/run.ts')).showTask(number, { ...options, app }),
    );
  program
    .command('terminate-task')
    .description('end a task of an app')
    .argument('<app>')
    .argument('<number>')
    .action(async (app: string, number: string) =>
      (await import('../commands/run.ts')).cancelTask(number, { app }),
    );
  const tasks = program.command('tasks').description('commands that were run with gantry run');
  tasks
    .command('list', { isDefault: true })
    .argument('[app]')
    .option(...appOption)
    .option('--json')
    .action(async (app: string | undefined, options: { app?: string; json?: boolean }) =>
      (await import('../commands/run.ts')).listTasks(app === undefined ? options : { ...options, app }),
    );
  tasks
    .command('show')
    .argument('<number>')
    .option(...appOption)
    .option('--json')
    .action(async (number: string, options: { app?: string; json?: boolean }) =>
      (await import('../commands/run.ts')).showTask(number, options),
    );
  tasks
    .command('logs')
    .argument('<number>')
    .option(...appOption)
    .action(async (number: string, options: { app?: string }) =>
      (await import('../commands/run.ts')).taskLogs(number, options),
    );
  tasks
    .command('cancel')
    .argument('<number>')
    .option(...appOption)
    .action(async (number: string, options: { app?: string }) =>
      (await import('../commands/run.ts')).cancelTask(number, options),
    );
  program
    .command('cron')
    .description("what the app's clevercloud/cron.json runs, when, and how it went")
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/cron.ts')).listCron(options),
    );
}
