#!/usr/bin/env node
import { Argument, Command, CommanderError, Option } from 'commander';
import type { deployImage } from './commands/deploy-image.ts';
import type { LogOptions } from './commands/logs.ts';
import type { scale, setOptions } from './commands/options.ts';
import type { push } from './commands/push.ts';
import type { NewTask } from './commands/run.ts';
import type { createService, updateService } from './commands/services.ts';
import type { linkWebhook } from './commands/webhooks.ts';
import { version } from './version.ts';

/** Composition root of the command line. Commands load what they need themselves, so that the quick ones stay quick. */
const program = new Command('gantry')
  .description('git push-to-deploy server and its command line')
  .version(version())
  .enablePositionalOptions()
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text) });

const appOption = [
  '-a, --app <name>',
  'the app (default: GANTRY_APP, then the git remote "clever")',
] as const;

const portHelp = 'the one the app listens on (default: of its variables or image)';
const commandHelp = 'what to start instead of what the image says, through its sh -c';
const endpointHelp = 'the path an http check asks for';
const timeoutHelp = 'how long a new container may take to become healthy';
function healthCheckOption(): Option {
  return new Option('-u, --health-check-type <type>', 'it takes connections, answers 200, or runs').choices([
    'port',
    'http',
    'process',
    'default',
  ]);
}

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
    if (app === undefined && options.app === undefined) return (await import('./commands/start.ts')).start();
    return (await import('./commands/lifecycle.ts')).startApp(app, options);
  });
program
  .command('stop')
  .description('end all containers of an app until it is started or pushed again; a deployment is cancelled')
  .argument('[app]')
  .option(...appOption)
  .option('--detach', 'do not wait until nothing of it runs')
  .action(async (app: string | undefined, options: { app?: string; detach?: boolean }) =>
    (await import('./commands/lifecycle.ts')).stopApp(app, options),
  );
program
  .command('server')
  .description('run git, the API and the router only')
  .action(async () => (await import('./commands/run-part.ts')).runServer());
program
  .command('worker')
  .description('run a worker only')
  .action(async () => (await import('./commands/run-part.ts')).runWorker());
program
  .command('down')
  .description('end the router and Redis that a stopped Gantry leaves running')
  .option('--apps', 'also remove all containers, networks and images of the apps')
  .option('--delete-data', 'with --apps: their volumes as well')
  .action(async (options: { apps?: boolean; deleteData?: boolean }) =>
    (await import('./commands/down.ts')).down(options),
  );
program
  .command('demo')
  .description('deploy a small app twice and show it')
  .action(async () => (await import('./commands/demo.ts')).demo());
program
  .command('doctor')
  .description('what this machine has and lacks for a server, and how to mend it')
  .option('--slow [seconds]', 'also whether a proxy lets a push be silent for so long (default: 65)')
  .option('--json')
  .action(async (options: { json?: boolean; slow?: string | true }) =>
    (await import('./commands/doctor.ts')).doctor(options),
  );
program
  .command('status')
  .description('whether the server can deploy and serve now, and what is in the way')
  .option('--json')
  .action(async (options: { json?: boolean }) => (await import('./commands/status.ts')).status(options));

const apps = program.command('apps').description('the apps, and what is decided about one');
apps
  .command('list', { isDefault: true })
  .option('--json')
  .option('--names', 'their names only')
  .action(async (options: { json?: boolean; names?: boolean }) =>
    (await import('./commands/apps.ts')).listApps(options),
  );
apps
  .command('create')
  .description('an app without anything in it yet, to set its variables before the first push')
  .argument('<app>')
  .action(async (app: string) => (await import('./commands/apps.ts')).createApp(app));
apps
  .command('delete')
  .description('an app with all its releases, logs and variables, for good (administrators only)')
  .argument('<app>')
  .option('--confirm <app>', 'its name once more, where nobody can be asked')
  .option('--delete-data', 'what is in its volumes, too')
  .action(async (app: string, options: { confirm?: string; deleteData?: boolean }) =>
    (await import('./commands/delete-app.ts')).deleteApp(app, options),
  );
apps
  .command('show')
  .description('its size, network, volumes and the like')
  .argument('<app>')
  .option('--json')
  .action(async (app: string, options: { json?: boolean }) =>
    (await import('./commands/options.ts')).showApp(app, options),
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
  .option('--test-command <command>', 'run in each image that is built before it is started; "default": none')
  .option('--port <number>', portHelp)
  .option('--command <command>', commandHelp)
  .addOption(healthCheckOption())
  .option('--endpoint <path>', endpointHelp)
  .option('--timeout <seconds>', timeoutHelp)
  .option('--json')
  .action(async (app: string, options: Parameters<typeof setOptions>[1]) =>
    (await import('./commands/options.ts')).setOptions(app, options),
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
    (await import('./commands/options.ts')).scale(options),
  );

const volumes = program.command('volumes').description('folders of an app that outlive its containers');
volumes
  .command('list', { isDefault: true })
  .argument('<app>')
  .option('--json')
  .action(async (app: string, options: { json?: boolean }) =>
    (await import('./commands/volumes.ts')).listVolumes(app, options),
  );
volumes
  .command('add')
  .argument('<app>')
  .argument('<NAME:/path>')
  .action(async (app: string, volume: string) =>
    (await import('./commands/volumes.ts')).addVolume(app, volume),
  );
volumes
  .command('remove')
  .description('its data are kept unless they are to be deleted, too')
  .argument('<app>')
  .argument('<name>')
  .option('--delete-data')
  .action(async (app: string, name: string, options: { deleteData?: boolean }) =>
    (await import('./commands/volumes.ts')).removeVolume(app, name, options),
  );

const env = program.command('env').description("an app's variables");
env
  .command('list', { isDefault: true })
  .option(...appOption)
  .option('--json')
  .option('--expert', 'as NAME="value" lines, which `env import` reads back')
  .action(async (options: { app?: string; json?: boolean; expert?: boolean }) =>
    (await import('./commands/env.ts')).listEnv(options),
  );
env
  .command('set')
  .description('set variables; NAME=@file reads the value from a file, NAME=- from standard input')
  .argument('<NAME=value...>')
  .option(...appOption)
  .action(async (pairs: string[], options: { app?: string }) =>
    (await import('./commands/env.ts')).setEnv(pairs, options),
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
    (await import('./commands/env.ts')).importEnv(file, options),
  );
env
  .command('edit')
  .description('all of them in $EDITOR, as `env list --expert` shows them')
  .option(...appOption)
  .action(async (options: { app?: string }) => (await import('./commands/edit-env.ts')).editEnv(options));
env
  .command('unset')
  .argument('<NAME...>')
  .option(...appOption)
  .action(async (names: string[], options: { app?: string }) =>
    (await import('./commands/env.ts')).unsetEnv(names, options),
  );

const credentialsHelp = 'a JSON object; @file reads it from a file, - from standard input';
const services = program
  .command('services')
  .description('databases and the like that apps use, and which app has which');
services
  .command('list', { isDefault: true })
  .option('-a, --app <name>', 'those of this app')
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/services.ts')).listServices(options),
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
    (await import('./commands/services.ts')).createService(name, options),
  );
services
  .command('show')
  .argument('<name>')
  .option('--credentials', 'with the values of its credentials')
  .option('--json')
  .action(async (name: string, options: { credentials?: boolean; json?: boolean }) =>
    (await import('./commands/services.ts')).showService(name, options),
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
    (await import('./commands/services.ts')).updateService(name, options),
  );
services
  .command('delete')
  .description('one that no app has any more')
  .argument('<name>')
  .option('--delete-data', 'of one that runs here: they go with it')
  .option('--confirm <name>', 'its name once more, where nobody can be asked')
  .action(async (name: string, options: { confirm?: string; deleteData?: boolean }) =>
    (await import('./commands/services.ts')).deleteService(name, options),
  );
services
  .command('backup')
  .description('write everything in the volume of one that runs here into a file; it is stopped meanwhile')
  .argument('<name>')
  .argument('<file>', 'a tar; - is standard output')
  .action(async (name: string, file: string) =>
    (await import('./commands/services.ts')).backUpService(name, file),
  );
services
  .command('restore')
  .description('replace its data by those of a backup; when it does not start with them, it keeps its own')
  .argument('<name>')
  .argument('<file>', 'a tar; - is standard input')
  .option('--confirm <name>', 'its name once more, where nobody can be asked')
  .action(async (name: string, file: string, options: { confirm?: string }) =>
    (await import('./commands/services.ts')).restoreService(name, file, options),
  );
for (const parent of [services, program]) {
  parent
    .command('bind')
    .description('give an app a service, with its next deployment or restart')
    .argument('<app>')
    .argument('<service>')
    .action(async (app: string, service: string) =>
      (await import('./commands/services.ts')).bindService(app, service),
    );
  parent
    .command('unbind')
    .description('take a service from an app, whose next deployment or restart is without it')
    .argument('<app>')
    .argument('<service>')
    .action(async (app: string, service: string) =>
      (await import('./commands/services.ts')).unbindService(app, service),
    );
}

const domains = program.command('domains').description('host names of an app, and paths of some');
domains
  .command('list', { isDefault: true })
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/domains.ts')).listDomains(options),
  );
domains
  .command('add')
  .description('one more, as shop.example.com or shop.example.com/api; in force at once')
  .argument('<DOMAIN>')
  .option(...appOption)
  .option('--json')
  .action(async (domain: string, options: { app?: string; json?: boolean }) =>
    (await import('./commands/domains.ts')).addDomain(domain, options),
  );
domains
  .command('remove')
  .argument('<DOMAIN>')
  .option(...appOption)
  .action(async (domain: string, options: { app?: string }) =>
    (await import('./commands/domains.ts')).removeDomain(domain, options),
  );

const networkPolicies = program
  .command('network-policies')
  .alias('network-policy')
  .description('which apps may reach which at their internal host names, as shop.internal');
networkPolicies
  .command('list', { isDefault: true })
  .option('--source <app>', 'of this app')
  .option('--json')
  .action(async (options: { source?: string; json?: boolean }) =>
    (await import('./commands/network-policies.ts')).listNetworkPolicies(options),
  );
networkPolicies
  .command('add')
  .description('let the containers of one app reach those of another, from now on')
  .argument('<SOURCE>')
  .argument('<DESTINATION>')
  .option('--port <port>', 'as 8080 or 8080-8090; 8080 without it')
  .addOption(new Option('--protocol <protocol>', 'tcp without it').choices(['tcp', 'udp']))
  .option('--json')
  .action(
    async (
      source: string,
      destination: string,
      options: { port?: string; protocol?: string; json?: boolean },
    ) => (await import('./commands/network-policies.ts')).addNetworkPolicy(source, destination, options),
  );
networkPolicies
  .command('remove')
  .description('cuts what is open, too')
  .argument('<SOURCE>')
  .argument('<DESTINATION>')
  .option('--port <port>', 'as it was added')
  .addOption(new Option('--protocol <protocol>', 'tcp without it').choices(['tcp', 'udp']))
  .action(async (source: string, destination: string, options: { port?: string; protocol?: string }) =>
    (await import('./commands/network-policies.ts')).removeNetworkPolicy(source, destination, options),
  );

const tcp = program.command('tcp').description('public TCP ports of apps');
tcp
  .command('list', { isDefault: true })
  .option('--json')
  .action(async (options: { json?: boolean }) => (await import('./commands/tcp.ts')).listTcp(options));
tcp
  .command('enable')
  .description('give an app a public TCP port, in force at once')
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/tcp.ts')).enableTcp(options),
  );
tcp
  .command('disable')
  .option(...appOption)
  .action(async (options: { app?: string }) => (await import('./commands/tcp.ts')).disableTcp(options));

program
  .command('deploy')
  .description('deploy an image of a registry; its tag is looked up now, and its digest is what is deployed')
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
    (await import('./commands/deploy-image.ts')).deployImage(app, options),
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
    (await import('./commands/push.ts')).push(app, options),
  );
program
  .command('restart')
  .description('new containers of the live release, with the variables as they are now')
  .argument('[app]')
  .option(...appOption)
  .option('--detach', 'return once it is queued')
  .action(async (app: string | undefined, options: { app?: string; detach?: boolean }) =>
    (await import('./commands/deploy-again.ts')).deployAgain('restart', options, app),
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
    (await import('./commands/deploy-again.ts')).deployAgain('redeploy', options, app),
  );

program
  .command('releases')
  .description('what was live, what each release changed, and which can be brought back')
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/releases.ts')).listReleases(options),
  );
program
  .command('rollback')
  .description('bring an earlier release back, with its image, variables and options; nothing is built')
  .argument('[version]', 'v12; default: the one that was live before')
  .option(...appOption)
  .option('--detach', 'return once it is queued')
  .action(async (version: string | undefined, options: { app?: string; detach?: boolean }) =>
    (await import('./commands/deploy-again.ts')).rollBack(version, options),
  );

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
    const { optionsBehindApp, runCommand } = await import('./commands/run.ts');
    if (!hasApp) return runCommand(words, options);
    const [app, ...behind] = words.slice(0, words.length - command.length);
    return runCommand(command, { ...options, ...optionsBehindApp(behind), app });
  });
type VisitOptions = { app?: string; instance?: string; deploy?: string; tty?: boolean; command?: string };
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
    const { exec, splitAtDashes } = await import('./commands/run.ts');
    const { app, command } = splitAtDashes(words);
    return exec(command, options, app);
  });
visitCommand('ssh')
  .description('a shell in a running container of an app')
  .argument('[app]')
  .option('-c, --command <command>', 'for its sh -c, instead of a shell')
  .action(async (app: string | undefined, { command, ...options }: VisitOptions) => {
    const { exec, shell } = await import('./commands/run.ts');
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
  .action(async (app: string, options: NewTask) => (await import('./commands/run.ts')).runTask(app, options));
program
  .command('task')
  .description('one task of an app')
  .argument('<app>')
  .argument('<number>')
  .option('--json')
  .action(async (app: string, number: string, options: { json?: boolean }) =>
    (await import('./commands/run.ts')).showTask(number, { ...options, app }),
  );
program
  .command('terminate-task')
  .description('end a task of an app')
  .argument('<app>')
  .argument('<number>')
  .action(async (app: string, number: string) =>
    (await import('./commands/run.ts')).cancelTask(number, { app }),
  );
const tasks = program.command('tasks').description('commands that were run with gantry run');
tasks
  .command('list', { isDefault: true })
  .argument('[app]')
  .option(...appOption)
  .option('--json')
  .action(async (app: string | undefined, options: { app?: string; json?: boolean }) =>
    (await import('./commands/run.ts')).listTasks(app === undefined ? options : { ...options, app }),
  );
tasks
  .command('show')
  .argument('<number>')
  .option(...appOption)
  .option('--json')
  .action(async (number: string, options: { app?: string; json?: boolean }) =>
    (await import('./commands/run.ts')).showTask(number, options),
  );
tasks
  .command('logs')
  .argument('<number>')
  .option(...appOption)
  .action(async (number: string, options: { app?: string }) =>
    (await import('./commands/run.ts')).taskLogs(number, options),
  );
tasks
  .command('cancel')
  .argument('<number>')
  .option(...appOption)
  .action(async (number: string, options: { app?: string }) =>
    (await import('./commands/run.ts')).cancelTask(number, options),
  );

program
  .command('cron')
  .description("what the app's clevercloud/cron.json runs, when, and how it went")
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/cron.ts')).listCron(options),
  );

const cache = program
  .command('cache')
  .description('move the images of an app to another machine; on the machine of a worker');
cache
  .command('save')
  .description('the images of its kept releases as an archive, like docker save')
  .argument('<app>')
  .argument('<file>', '- is standard output')
  .action(async (app: string, file: string) => (await import('./commands/cache.ts')).saveImages(app, file));
cache
  .command('load')
  .description('what is in an archive of that app, and nothing else')
  .argument('<app>')
  .argument('<file>', '- is standard input')
  .action(async (app: string, file: string) => (await import('./commands/cache.ts')).loadImages(app, file));

const deploys = program.command('deploys').description("an app's deployments");
deploys
  .command('list', { isDefault: true })
  .option(...appOption)
  .option('--limit <number>', 'how many (default: 20)')
  .option('--json')
  .action(async (options: { app?: string; limit?: string; json?: boolean }) =>
    (await import('./commands/deploys.ts')).listDeploys(options),
  );
deploys
  .command('show')
  .argument('<number>')
  .option(...appOption)
  .option('--json')
  .action(async (number: string, options: { app?: string; json?: boolean }) =>
    (await import('./commands/deploys.ts')).showDeploy(number, options),
  );
deploys
  .command('logs')
  .description('its log, live while it runs; ends as it does')
  .argument('<number>')
  .option(...appOption)
  .action(async (number: string, options: { app?: string }) =>
    (await import('./commands/logs.ts')).showLog({ ...options, deploy: number }),
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
    (await import('./commands/deploy-again.ts')).retryDeploy(number, options),
  );
deploys
  .command('cancel')
  .argument('<number>')
  .option(...appOption)
  .action(async (number: string, options: { app?: string }) =>
    (await import('./commands/deploys.ts')).cancelDeploy(number, options),
  );

const webhooks = program
  .command('webhooks')
  .description('deploy what is pushed to a repository elsewhere, and tell others about deployments');
webhooks
  .command('link')
  .description('fetch and deploy each commit, or deploy each image, that is pushed there')
  .argument('[APP]')
  .requiredOption(
    '--provider <NAME>',
    'github, gitlab, gitea, forgejo, bitbucket or generic; of images registry, dockerhub or ghcr',
  )
  .option('--repo <URL>', 'https, or ssh with --key; a login in it stays secret')
  .option('--image <NAME>', 'instead of a repository: ana/shop, registry.example/shop')
  .option('--tag <TAG>', 'the tag that is deployed (default: latest)')
  .option('--branch <NAME>', 'the branch that is deployed', 'main')
  .option('--key <FILE>', 'private key for ssh, one that may only read')
  .option('--poll <TIME>', 'also look at the branch every so often: 5m')
  .option(
    '--status',
    'tell the forge the status of each commit, with its token from GANTRY_FORGE_TOKEN or standard input',
  )
  .option(...appOption)
  .option('--json')
  .action(async (app: string | undefined, options: Parameters<typeof linkWebhook>[1]) =>
    (await import('./commands/webhooks.ts')).linkWebhook(app, options),
  );
webhooks
  .command('set')
  .description('change a link, whose secret stays')
  .option('--poll <TIME>', 'look at the branch every so often: 5m, or off')
  .option(
    '--status',
    'tell the forge the status of each commit (token: GANTRY_FORGE_TOKEN or standard input)',
  )
  .option('--no-status')
  .option(...appOption)
  .option('--json')
  .action(async (options: { poll?: string; status?: boolean; app?: string; json?: boolean }) =>
    (await import('./commands/webhooks.ts')).changeWebhook(options),
  );
webhooks
  .command('list')
  .description('what comes in and what goes out, and how each is doing')
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/webhooks.ts')).listWebhooks(options),
  );
webhooks
  .command('show', { isDefault: true })
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/webhooks.ts')).showWebhook(options),
  );
webhooks
  .command('unlink')
  .option(...appOption)
  .action(async (options: { app?: string }) =>
    (await import('./commands/webhooks.ts')).unlinkWebhook(options),
  );
webhooks
  .command('rotate')
  .description('a new secret; the one before is good for another day')
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/webhooks.ts')).rotateSecret(options),
  );
webhooks
  .command('deliveries')
  .description('the last fifty, and what became of each')
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/webhooks.ts')).listDeliveries(options),
  );
webhooks
  .command('redeliver')
  .description('deploy the commit of a delivery, also one that was ignored')
  .argument('<ID>')
  .option(...appOption)
  .option('--json')
  .action(async (id: string, options: { app?: string; json?: boolean }) =>
    (await import('./commands/webhooks.ts')).redeliver(id, options),
  );

type OutgoingOptions = { app?: string; allApps?: boolean; json?: boolean };
const allAppsOption = ['--all-apps', 'those that are told about every app (administrators only)'] as const;
webhooks
  .command('test')
  .description('send an event that says nothing to an outgoing webhook, or to all of them')
  .argument('[ID]')
  .option(...appOption)
  .option(...allAppsOption)
  .option('--json')
  .action(async (id: string | undefined, options: OutgoingOptions) =>
    (await import('./commands/webhooks-out.ts')).testOutgoing(id, options),
  );
const webhooksOut = webhooks.command('out').description('who is told about deployments, and how');
webhooksOut
  .command('list', { isDefault: true })
  .option(...appOption)
  .option(...allAppsOption)
  .option('--json')
  .action(async (options: OutgoingOptions) =>
    (await import('./commands/webhooks-out.ts')).listOutgoing(options),
  );
webhooksOut
  .command('add')
  .description('send events of deployments there, signed')
  .argument(
    '[URL]',
    'http or https; without it, or with -, read from standard input: that of a chat is a secret',
  )
  .addOption(
    new Option('--format <NAME>').choices(['json', 'slack', 'mattermost', 'discord']).default('json'),
  )
  .option('--events <LIST>', 'deploy.failed,deploy.succeeded (default: all)')
  .option(...appOption)
  .option(...allAppsOption)
  .option('--json')
  .action(async (url: string | undefined, options: OutgoingOptions & { format: string; events?: string }) =>
    (await import('./commands/webhooks-out.ts')).addOutgoing(url, options),
  );
webhooksOut
  .command('remove')
  .argument('<ID>')
  .option(...appOption)
  .option(...allAppsOption)
  .action(async (id: string, options: OutgoingOptions) =>
    (await import('./commands/webhooks-out.ts')).removeOutgoing(id, options),
  );
webhooksOut
  .command('rotate')
  .description('a new secret; for a day events are signed with the one before as well')
  .argument('<ID>')
  .option(...appOption)
  .option(...allAppsOption)
  .option('--json')
  .action(async (id: string, options: OutgoingOptions) =>
    (await import('./commands/webhooks-out.ts')).rotateOutgoing(id, options),
  );
webhooksOut
  .command('enable')
  .description('send again to one that answered 410')
  .argument('<ID>')
  .option(...appOption)
  .option(...allAppsOption)
  .action(async (id: string, options: OutgoingOptions) =>
    (await import('./commands/webhooks-out.ts')).enableOutgoing(id, options),
  );
webhooksOut
  .command('deliveries')
  .description('the last fifty events for one, and how it went')
  .argument('<ID>')
  .option(...appOption)
  .option(...allAppsOption)
  .option('--json')
  .action(async (id: string, options: OutgoingOptions) =>
    (await import('./commands/webhooks-out.ts')).listNotices(id, options),
  );
webhooksOut
  .command('redeliver')
  .description('send one of them again')
  .argument('<ID>')
  .argument('<DELIVERY>')
  .option(...appOption)
  .option(...allAppsOption)
  .option('--json')
  .action(async (id: string, delivery: string, options: OutgoingOptions) =>
    (await import('./commands/webhooks-out.ts')).redeliverNotice(id, delivery, options),
  );

program
  .command('login')
  .description('keep a token for a server, so that neither gantry nor git push asks for one')
  .argument('[url]', 'default: GANTRY_URL, the git remote "clever", the last login')
  .action(async (url?: string) => (await import('./commands/login.ts')).login(url));
program
  .command('logout')
  .argument('[url]')
  .action(async (url?: string) => (await import('./commands/login.ts')).logout(url));
program
  .command('link')
  .description('add the git remote "clever", which deploys, to the repository here')
  .argument('[app]', 'default: GANTRY_APP, then the name of the folder')
  .option('--force', 'also when the remote leads elsewhere')
  .action(async (app: string | undefined, options: { force?: boolean }) =>
    (await import('./commands/link.ts')).link(app, options),
  );
program
  .command('credential', { hidden: true })
  .description("git's credential helper")
  .addArgument(new Argument('<action>').choices(['get', 'store', 'erase']))
  .action(async (action: string) => (await import('./commands/credential.ts')).credential(action));
const tokens = program.command('tokens').description('who may do what; for administrators');
tokens
  .command('list', { isDefault: true })
  .option('--json')
  .action(async (options: { json?: boolean }) => (await import('./commands/tokens.ts')).listTokens(options));
tokens
  .command('create')
  .description('make a token and print it; it is shown only then')
  .argument('<name>', 'whose or what it is for: ana, ci-shop')
  .requiredOption('-s, --scope <scope...>', 'admin, deploy:APP or read:APP')
  .option('-e, --expires <when>', '90d, 12h or 2030-12-31 (default: never)')
  .option('--json')
  .action(async (name: string, options: { scope: string[]; expires?: string; json?: boolean }) =>
    (await import('./commands/tokens.ts')).createToken(name, options),
  );
tokens
  .command('revoke')
  .description('it stops working at once')
  .argument('<id>')
  .action(async (id: string) => (await import('./commands/tokens.ts')).revokeToken(id));
program
  .command('whoami')
  .description('whose token this is, and what it may do')
  .option('--json')
  .action(async (options: { json?: boolean }) => (await import('./commands/tokens.ts')).whoami(options));

program
  .command('audit')
  .description('who did what; for administrators')
  .option('-a, --app <name>', 'about this app only')
  .option('-n, --limit <number>', 'the newest so many', '50')
  .option('--json')
  .action(async (options: { app?: string; limit: string; json?: boolean }) =>
    (await import('./commands/audit.ts')).showAudit(options),
  );

program
  .command('ps')
  .description('the containers of an app as they are now: release, state, since when, memory, restarts')
  .option(...appOption)
  .option('--json')
  .action(async (options: { app?: string; json?: boolean }) =>
    (await import('./commands/ps.ts')).listInstances(options),
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
  .action(async (options: LogOptions) => (await import('./commands/app-logs.ts')).logs(options));

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
