import { type Command, Option } from 'commander';
import { appOption } from './shared-options.ts';

export function addRouteCommands(program: Command): void {
  const domains = program.command('domains').description('host names of an app, and paths of some');
  domains
    .command('list', { isDefault: true })
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/domains.ts')).listDomains(options),
    );
  domains
    .command('add')
    .description('one more, as shop.example.com or shop.example.com/api; in force at once')
    .argument('<DOMAIN>')
    .option(...appOption)
    .option('--json')
    .action(async (domain: string, options: { app?: string; json?: boolean }) =>
      (await import('../commands/domains.ts')).addDomain(domain, options),
    );
  domains
    .command('remove')
    .argument('<DOMAIN>')
    .option(...appOption)
    .action(async (domain: string, options: { app?: string }) =>
      (await import('../commands/domains.ts')).removeDomain(domain, options),
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
      (await import('../commands/network-policies.ts')).listNetworkPolicies(options),
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
      ) => (await import('../commands/network-policies.ts')).addNetworkPolicy(source, destination, options),
    );
  networkPolicies
    .command('remove')
    .description('cuts what is open, too')
    .argument('<SOURCE>')
    .argument('<DESTINATION>')
    .option('--port <port>', 'as it was added')
    .addOption(new Option('--protocol <protocol>', 'tcp without it').choices(['tcp', 'udp']))
    .action(async (source: string, destination: string, options: { port?: string; protocol?: string }) =>
      (await import('../commands/network-policies.ts')).removeNetworkPolicy(source, destination, options),
    );
  const tcp = program.command('tcp').description('public TCP ports of apps');
  tcp
    .command('list', { isDefault: true })
    .option('--json')
    .action(async (options: { json?: boolean }) => (await import('../commands/tcp.ts')).listTcp(options));
  tcp
    .command('enable')
    .description('give an app a public TCP port, in force at once')
    .option(...appOption)
    .option('--json')
    .action(async (options: { app?: string; json?: boolean }) =>
      (await import('../commands/tcp.ts')).enableTcp(options),
    );
  tcp
    .command('disable')
    .option(...appOption)
    .action(async (options: { app?: string }) => (await import('../commands/tcp.ts')).disableTcp(options));
}
