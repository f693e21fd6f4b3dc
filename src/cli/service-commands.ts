import { type Command, Option } from 'commander';
import type { createService, updateService } from '../commands/services.ts';
import { commandHelp } from './shared-options.ts';

const credentialsHelp = 'a JSON object; @file reads it from a file, - from standard input';

export function addServiceCommands(program: Command): void {
  const services = program
    .command('services')
    .description('databases and the like that apps use, and which app has which');
  services
    .command('list', { isDefault: true })
    .option('-a, --app <name>', 'those of this app')
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/services.ts')).listServices(options),
    );
  services
    .command('create')
    .description(
      'one that runs elsewhere, by its credentials; or here, of a template or an image (administrators only)',
    )
    .argument('<name>')
    .option('--credentials <json>', credentialsHelp)
    .addOption(
      new Option('--template <name>', 'what it is, with new credentials').choices([
        'postgresql',
        'redis',
        'valkey',
        'mariadb',
      ]),
    )
    .option('--image <reference>', 'of its container (default: of the template)')
    .option('--port <number>', 'where an image without a template listens')
    .option('--path <folder>', 'where it keeps its data')
    .option('--command <command>', commandHelp)
    .option('--env <NAME=value...>', 'of its container; NAME=@file and NAME=- as for gantry env set')
    .option('-m, --memory <size>', 'of its container: 512M, 2G')
    .option('--detach', 'do not wait until it is ready')
    .option('--tag <tag...>', 'in VCAP_SERVICES')
    .option('--shared', 'let everybody who may deploy an app bind it')
    .option('--json')
    .action(async (name: string, options: Parameters<typeof createService>[1]) =>
      (await import('../commands/services.ts')).createService(name, options),
    );
  services
    .command('show')
    .argument('<name>')
    .option('--credentials', 'with the values of its credentials')
    .option('--json')
    .action(async (name: string, options: { credentials?: boolean; json?: boolean }) =>
      (await import('../commands/services.ts')).showService(name, options),
    );
  services
    .command('update')
    .argument('<name>')
    .option('--credentials <json>', `instead of those it has: ${credentialsHelp}`)
    .option('--image <reference>', 'a new container with the same data')
    .option('-m, --memory <size>', '512M, 2G or default')
    .option('--tag <tag...>', 'instead of those it has')
    .option('--shared', 'let everybody who may deploy an app bind it')
    .option('--no-shared')
    .option('--json')
    .action(async (name: string, options: Parameters<typeof updateService>[1]) =>
      (await import('../commands/services.ts')).updateService(name, options),
    );
  services
    .command('delete')
    .description('one that no app has any more')
    .argument('<name>')
    .option('--delete-data', 'of one that runs here: they go with it')
    .option('--confirm <name>', 'its name once more, where nobody can be asked')
    .action(async (name: string, options: { confirm?: string; deleteData?: boolean }) =>
      (await import('../commands/services.ts')).deleteService(name, options),
    );
  services
    .command('backup')
    .description('write everything in the volume of one that runs here into a file; it is stopped meanwhile')
    .argument('<name>')
    .argument('<file>', 'a tar; - is standard output')
    .action(async (name: string, file: string) =>
      (await import('../commands/services.ts')).backUpService(name, file),
    );
  services
    .command('restore')
    .description('replace its data by those of a backup; when it does not start with them, it keeps its own')
    .argument('<name>')
    .argument('<file>', 'a tar; - is standard input')
    .option('--confirm <name>', 'its name once more, where nobody can be asked')
    .action(async (name: string, file: string, options: { confirm?: string }) =>
      (await import('../commands/services.ts')).restoreService(name, file, options),
    );
  for (const parent of [services, program]) {
    parent
      .command('bind')
      .description('give an app a service, with its next deployment or restart')
      .argument('<app>')
      .argument('<service>')
      .action(async (app: string, service: string) =>
        (await import('../commands/services.ts')).bindService(app, service),
      );
    parent
      .command('unbind')
      .description('take a service from an app, whose next deployment or restart is without it')
      .argument('<app>')
      .argument('<service>')
      .action(async (app: string, service: string) =>
        (await import('../commands/services.ts')).unbindService(app, service),
      );
  }
}
