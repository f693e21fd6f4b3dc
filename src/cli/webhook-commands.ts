import { type Command, Option } from 'commander';
import type { linkWebhook } from '../commands/webhooks.ts';
import { appOption } from './shared-options.ts';

type OutgoingOptions = { app?: string; allApps?: boolean; json?: boolean };
const allAppsOption = ['--all-apps', 'those that are told about every app (administrators only)'] as const;

export function addWebhookCommands(program: Command): void {
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
      (await import('../commands/webhooks.ts')).linkWebhook(app, options),
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
      (await import('../commands/webhooks.ts')).changeWebhook(options),
    );
  webhooks
    .command('list')
    .description('what comes in and what goes out, and how each is doing')
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/webhooks.ts')).listWebhooks(options),
    );
  webhooks
    .command('show', { isDefault: true })
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/webhooks.ts')).showWebhook(options),
    );
  webhooks
    .command('unlink')
    .option(...appOption)
    .action(async (options: { app?: string }) =>
      (await import('../commands/webhooks.ts')).unlinkWebhook(options),
    );
  webhooks
    .command('rotate')
    .description('a new secret; the one before is good for another day')
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/webhooks.ts')).rotateSecret(options),
    );
  webhooks
    .command('deliveries')
    .description('the last fifty, and what became of each')
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/webhooks.ts')).listDeliveries(options),
    );
  webhooks
    .command('redeliver')
    .description('deploy the commit of a delivery, also one that was ignored')
    .argument('<ID>')
    .option(...appOption)
    .option('--json')
    .action(async (id: string, options: { app?: string; json?: boolean }) =>
      (await import('../commands/webhooks.ts')).redeliver(id, options),
    );
  webhooks
    .command('test')
    .description('send an event that says nothing to an outgoing webhook, or to all of them')
    .argument('[ID]')
    .option(...appOption)
    .option(...allAppsOption)
    .option('--json')
    .action(async (id: string | undefined, options: OutgoingOptions) =>
      (await import('../commands/webhooks-out.ts')).testOutgoing(id, options),
    );
  const webhooksOut = webhooks.command('out').description('who is told about deployments, and how');
  webhooksOut
    .command('list', { isDefault: true })
    .option(...appOption)
    .option(...allAppsOption)
    .option('--json')
    .action(async (options: OutgoingOptions) =>
      (await import('../commands/webhooks-out.ts')).listOutgoing(options),
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
      (await import('../commands/webhooks-out.ts')).addOutgoing(url, options),
    );
  webhooksOut
    .command('remove')
    .argument('<ID>')
    .option(...appOption)
    .option(...allAppsOption)
    .action(async (id: string, options: OutgoingOptions) =>
      (await import('../commands/webhooks-out.ts')).removeOutgoing(id, options),
    );
  webhooksOut
    .command('rotate')
    .description('a new secret; for a day events are signed with the one before as well')
    .argument('<ID>')
    .option(...appOption)
    .option(...allAppsOption)
    .option('--json')
    .action(async (id: string, options: OutgoingOptions) =>
      (await import('../commands/webhooks-out.ts')).rotateOutgoing(id, options),
    );
  webhooksOut
    .command('enable')
    .description('send again to one that answered 410')
    .argument('<ID>')
    .option(...appOption)
    .option(...allAppsOption)
    .action(async (id: string, options: OutgoingOptions) =>
      (await import('../commands/webhooks-out.ts')).enableOutgoing(id, options),
    );
  webhooksOut
    .command('deliveries')
    .description('the last fifty events for one, and how it went')
    .argument('<ID>')
    .option(...appOption)
    .option(...allAppsOption)
    .option('--json')
    .action(async (id: string, options: OutgoingOptions) =>
      (await import('../commands/webhooks-out.ts')).listNotices(id, options),
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
      (await import('../commands/webhooks-out.ts')).redeliverNotice(id, delivery, options),
    );
}
