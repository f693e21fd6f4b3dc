import type { Command } from 'commander';
import type { deployImage } from '../commands/deploy-image.ts';
import type { push } from '../commands/push.ts';
import {
  appOption,
  commandHelp,
  endpointHelp,
  healthCheckOption,
  portHelp,
  timeoutHelp,
} from './shared-options.ts';

export function addDeployCommands(program: Command): void {
  program
    .command('deploy')
    .description(
      'deploy an image of a registry; its tag is looked up now, and its digest is what is deployed',
    )
    .argument('[app]', 'made unless there is one (default: as for --app)')
    .requiredOption('-o, --image <reference>', 'nginx, ghcr.io/ana/shop:1.2 or host:5000/shop@sha256:…')
    .option(
      '--username <name>',
      'for a private one; the password is read from GANTRY_DOCKER_PASSWORD or standard input, and kept',
    )
    .option('--forget-login', 'forget the user name and password for its registry')
    .option('--port <number>', portHelp)
    .option('-c, --command <command>', commandHelp)
    .addOption(healthCheckOption())
    .option('--endpoint <path>', endpointHelp)
    .option('-t, --timeout <seconds>', timeoutHelp)
    .option(...appOption)
    .option('--detach', 'return once it is queued')
    .action(async (app: string | undefined, options: Parameters<typeof deployImage>[1]) =>
      (await import('../commands/deploy-image.ts')).deployImage(app, options),
    );
  program
    .command('push')
    .description(
      'deploy the images of a Cloud Foundry manifest, one app after the other; for git it is git push',
    )
    .argument('[app]', 'only this one of them')
    .option('-f, --file <manifest>', 'the manifest', 'manifest.yml')
    .option('--var <name=value...>', 'what ((name)) stands for')
    .option('--vars-file <file...>', 'the same from a YAML file')
    .action(async (app: string | undefined, options: Parameters<typeof push>[1]) =>
      (await import('../commands/push.ts')).push(app, options),
    );
  program
    .command('restart')
    .description('new containers of the live release, with the variables as they are now')
    .argument('[app]')
    .option(...appOption)
    .option('--detach', 'return once it is queued')
    .action(async (app: string | undefined, options: { app?: string; detach?: boolean }) =>
      (await import('../commands/deploy-again.ts')).deployAgain('restart', options, app),
    );
  program
    .command('redeploy')
    .alias('restage')
    .description('build and deploy the live commit again; of an image, look its tag up again')
    .argument('[app]')
    .option(...appOption)
    .option('--no-cache', 'build every step anew')
    .option('--detach', 'return once it is queued')
    .action(async (app: string | undefined, options: { app?: string; detach?: boolean; cache?: boolean }) =>
      (await import('../commands/deploy-again.ts')).deployAgain('redeploy', options, app),
    );
  program
    .command('releases')
    .description('what was live, what each release changed, and which can be brought back')
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/releases.ts')).listReleases(options),
    );
  program
    .command('rollback')
    .description('bring an earlier release back, with its image, variables and options; nothing is built')
    .argument('[version]', 'v12; default: the one that was live before')
    .option(...appOption)
    .option('--detach', 'return once it is queued')
    .action(async (version: string | undefined, options: { app?: string; detach?: boolean }) =>
      (await import('../commands/deploy-again.ts')).rollBack(version, options),
    );
  const cache = program
    .command('cache')
    .description('move the images of an app to another machine; on the machine of a worker');
  cache
    .command('save')
    .description('the images of its kept releases as an archive, like docker save')
    .argument('<app>')
    .argument('<file>', '- is standard output')
    .action(async (app: string, file: string) =>
      (await import('../commands/cache.ts')).saveImages(app, file),
    );
  cache
    .command('load')
    .description('what is in an archive of that app, and nothing else')
    .argument('<app>')
    .argument('<file>', '- is standard input')
    .action(async (app: string, file: string) =>
      (await import('../commands/cache.ts')).loadImages(app, file),
    );
  const deploys = program.command('deploys').description("an app's deployments");
  deploys
    .command('list', { isDefault: true })
    .option(...appOption)
    .option('--limit <number>', 'how many (default: 20)')
    .option('--json')
    .action(async (options: { app?: string; limit?: string; json?: boolean }) =>
      (await import('../commands/deploys.ts')).listDeploys(options),
    );
  deploys
    .command('show')
    .argument('<number>')
    .option(...appOption)
    .option('--json')
    .action(async (number: string, options: { app?: string; json?: boolean }) =>
      (await import('../commands/deploys.ts')).showDeploy(number, options),
    );
  deploys
    .command('logs')
    .description('its log, live while it runs; ends as it does')
    .argument('<number>')
    .option(...appOption)
    .action(async (number: string, options: { app?: string }) =>
      (await import('../commands/logs.ts')).showLog({ ...options, deploy: number }),
    );
  deploys
    .command('retry')
    .description(
      'deploy the commit or image of an earlier deployment again, with the variables as they are now',
    )
    .argument('<number>')
    .option(...appOption)
    .option('--detach', 'return once it is queued')
    .action(async (number: string, options: { app?: string; detach?: boolean }) =>
      (await import('../commands/deploy-again.ts')).retryDeploy(number, options),
    );
  deploys
    .command('cancel')
    .argument('<number>')
    .option(...appOption)
    .action(async (number: string, options: { app?: string }) =>
      (await import('../commands/deploys.ts')).cancelDeploy(number, options),
    );
}
