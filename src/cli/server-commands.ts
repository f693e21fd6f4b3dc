import type { Command } from 'commander';

export function addServerCommands(program: Command): void {
  program
    .command('start')
    .description(
      'with an app: start it again after gantry stop; without: run everything on this machine, that is Redis, router, server and worker',
    )
    .argument('[app]', 'one that was stopped: new containers of its live release, no build')
    .option('-a, --app <name>', 'the same')
    .option('--detach', 'return once it is queued')
    .action(async (app: string | undefined, options: { app?: string; detach?: boolean }) => {
      // Only a name makes it about an app: neither GANTRY_APP nor the remote may turn the start of the server into another.
      if (app === undefined && options.app === undefined)
        return (await import('../commands/start.ts')).start();
      return (await import('../commands/lifecycle.ts')).startApp(app, options);
    });
  program
    .command('server')
    .description('run git, the API and the router only')
    .action(async () => (await import('../commands/run-part.ts')).runServer());
  program
    .command('worker')
    .description('run a worker only')
    .action(async () => (await import('../commands/run-part.ts')).runWorker());
  program
    .command('down')
    .description('end the router and Redis that a stopped Gantry leaves running')
    .option('--apps', 'also remove all containers, networks and images of the apps')
    .option('--delete-data', 'with --apps: their volumes as well')
    .action(async (options: { apps?: boolean; deleteData?: boolean }) =>
      (await import('../commands/down.ts')).down(options),
    );
  program
    .command('backup')
    .description('everything of this Gantry but its key into a file (-: standard output), while it runs')
    .argument('<file>')
    .option('--key <file>', 'also write the key, without which nothing can be restored, into this file')
    .action(async (file: string, options: { key?: string }) =>
      (await import('../commands/backup.ts')).backUp(file, options),
    );
  program
    .command('restore')
    .description('a backup into an empty data folder; gantry start then brings the apps back')
    .argument('<file>', 'what gantry backup wrote (-: standard input)')
    .requiredOption('--key <file>', 'the key that was kept apart from it')
    .action(async (file: string, options: { key: string }) =>
      (await import('../commands/restore.ts')).restore(file, options),
    );
  program
    .command('accept-old-store')
    .description('after an older state of Redis was put back by hand: go on with it, as after gantry restore')
    .action(async () => (await import('../commands/accept-old-store.ts')).acceptOldStore());
  program
    .command('demo')
    .description('deploy a small app twice and show it')
    .action(async () => (await import('../commands/demo.ts')).demo());
  program
    .command('doctor')
    .description('what this machine has and lacks for a server, and how to mend it')
    .option('--slow [seconds]', 'also whether a proxy lets a push be silent for so long (default: 65)')
    .option('--json')
    .action(async (options: { json?: boolean; slow?: string | true }) =>
      (await import('../commands/doctor.ts')).doctor(options),
    );
  program
    .command('status')
    .description('whether the server can deploy and serve now, and what is in the way')
    .option('--json')
    .action(async (options: { json?: boolean }) => (await import('../commands/status.ts')).status(options));
}
