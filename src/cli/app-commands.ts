import { type Command, Option } from 'commander';
import type { LogOptions } from '../commands/logs.ts';
import type { scale, setOptions } from '../commands/options.ts';
import {
  appOption,
  commandHelp,
  endpointHelp,
  healthCheckOption,
  portHelp,
  timeoutHelp,
} from './shared-options.ts';

export function addAppCommands(program: Command): void {
  program
    .command('stop')
    .description(
      'end all containers of an app until it is started or pushed again; a deployment is cancelled',
    )
    .argument('[app]')
    .option(...appOption)
    .option('--detach', 'do not wait until nothing of it runs')
    .action(async (app: string | undefined, options: { app?: string; detach?: boolean }) =>
      (await import('../commands/lifecycle.ts')).stopApp(app, options),
    );
  const apps = program.command('apps').description('the apps, and what is decided about one');
  apps
    .command('list', { isDefault: true })
    .option('--json')
    .option('--names', 'their names only')
    .action(async (options: { json?: boolean; names?: boolean }) =>
      (await import('../commands/apps.ts')).listApps(options),
    );
  apps
    .command('create')
    .description('an app without anything in it yet, to set its variables before the first push')
    .argument('<app>')
    .action(async (app: string) => (await import('../commands/apps.ts')).createApp(app));
  apps
    .command('delete')
    .description('an app with all its releases, logs and variables, for good (administrators only)')
    .argument('<app>')
    .option('--confirm <app>', 'its name once more, where nobody can be asked')
    .option('--delete-data', 'what is in its volumes, too')
    .action(async (app: string, options: { confirm?: string; deleteData?: boolean }) =>
      (await import('../commands/delete-app.ts')).deleteApp(app, options),
    );
  apps
    .command('show')
    .description('its size, network, volumes and the like')
    .argument('<app>')
    .option('--json')
    .action(async (app: string, options: { json?: boolean }) =>
      (await import('../commands/options.ts')).showApp(app, options),
    );
  apps
    .command('set')
    .argument('<app>')
    .addOption(new Option('--network <kind>', 'administrators only').choices(['bridge', 'host']))
    .option(
      '--add-host <name:address...>',
      'names its containers know besides; "none": none any more (administrators only)',
    )
    .option(
      '--docker-network <name...>',
      'networks its containers are in besides their own; "none" (administrators only)',
    )
    .option('--docker-socket', 'let it have the Docker socket, and so this machine (administrators only)')
    .option('--no-docker-socket')
    .option('--task', 'a deployment runs the container once instead of serving it')
    .option('--no-task')
    .addOption(new Option('--swap <order>').choices(['start-first', 'stop-first', 'default']))
    .option('--registry <place>', 'where built images go, as registry.example.com/team; or "none", "default"')
    .option(
      '--test-command <command>',
      'run in each image that is built before it is started; "default": none',
    )
    .option('--port <number>', portHelp)
    .option('--command <command>', commandHelp)
    .addOption(healthCheckOption())
    .option('--endpoint <path>', endpointHelp)
    .option('--timeout <seconds>', timeoutHelp)
    .option('--json')
    .action(async (app: string, options: Parameters<typeof setOptions>[1]) =>
      (await import('../commands/options.ts')).setOptions(app, options),
    );
  program
    .command('scale')
    .description('size and number of the instances of an app; without options: show them')
    .option(...appOption)
    .option('--memory <size>', '512M, 2G or default')
    .option('--cpus <cores>', '0.5, 2 or default')
    .option('--instances <number>')
    .option('--json')
    .action(async (options: Parameters<typeof scale>[0]) =>
      (await import('../commands/options.ts')).scale(options),
    );
  const volumes = program.command('volumes').description('folders of an app that outlive its containers');
  volumes
    .command('list', { isDefault: true })
    .argument('<app>')
    .option('--json')
    .action(async (app: string, options: { json?: boolean }) =>
      (await import('../commands/volumes.ts')).listVolumes(app, options),
    );
  volumes
    .command('add')
    .argument('<app>')
    .argument('<NAME:/path>')
    .action(async (app: string, volume: string) =>
      (await import('../commands/volumes.ts')).addVolume(app, volume),
    );
  volumes
    .command('remove')
    .description('its data are kept unless they are to be deleted, too')
    .argument('<app>')
    .argument('<name>')
    .option('--delete-data')
    .action(async (app: string, name: string, options: { deleteData?: boolean }) =>
      (await import('../commands/volumes.ts')).removeVolume(app, name, options),
    );
  const env = program.command('env').description("an app's variables");
  env
    .command('list', { isDefault: true })
    .option(...appOption)
    .option('--json')
    .option('--expert', 'as NAME="value" lines, which `env import` reads back')
    .action(async (options: { app?: string; json?: boolean; expert?: boolean }) =>
      (await import('../commands/env.ts')).listEnv(options),
    );
  env
    .command('set')
    .description('set variables; NAME=@file reads the value from a file, NAME=- from standard input')
    .argument('<NAME=value...>')
    .option(...appOption)
    .action(async (pairs: string[], options: { app?: string }) =>
      (await import('../commands/env.ts')).setEnv(pairs, options),
    );
  env
    .command('import')
    .description(
      "set what a file or standard input lists: NAME=value lines, Clever Cloud's expert format or JSON",
    )
    .argument('[file]', 'default: standard input')
    .option('--replace', 'also unset every variable it does not list')
    .option(...appOption)
    .action(async (file: string | undefined, options: { app?: string; replace?: boolean }) =>
      (await import('../commands/env.ts')).importEnv(file, options),
    );
  env
    .command('edit')
    .description('all of them in $EDITOR, as `env list --expert` shows them')
    .option(...appOption)
    .action(async (options: { app?: string }) => (await import('../commands/edit-env.ts')).editEnv(options));
  env
    .command('unset')
    .argument('<NAME...>')
    .option(...appOption)
    .action(async (names: string[], options: { app?: string }) =>
      (await import('../commands/env.ts')).unsetEnv(names, options),
    );
  program
    .command('ps')
    .description('the containers of an app as they are now: release, state, since when, memory, restarts')
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/ps.ts')).listInstances(options),
    );
  program
    .command('logs')
    .description(
      'the log of a deployment, live while it runs; with --follow, --since, --lines or --source app: what the app prints',
    )
    .option(...appOption)
    .option('--deploy <number>', 'default: the latest')
    .addOption(new Option('--source <what>').choices(['app', 'deploy']))
    .option('-f, --follow', 'go on with what is printed from now on, over every swap')
    .option('--since <when>', '10m, 2h, 1d, or a moment like 2030-12-31T12:00Z')
    .option('-n, --lines <number>', 'the last so many (default: 100, or all with --since)')
    .option('--json', 'one JSON object a line')
    .action(async (options: LogOptions) => (await import('../commands/app-logs.ts')).logs(options));
}
