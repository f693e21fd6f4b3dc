import { Argument, type Command } from 'commander';

export function addAccountCommands(program: Command): void {
  program
    .command('login')
    .description('keep a token for a server, so that neither gantry nor git push asks for one')
    .argument('[url]', 'default: GANTRY_URL, the git remote "clever", the last login')
    .action(async (url?: string) => (await import('../commands/login.ts')).login(url));
  program
    .command('logout')
    .argument('[url]')
    .action(async (url?: string) => (await import('../commands/login.ts')).logout(url));
  program
    .command('link')
    .description('add the git remote "clever", which deploys, to the repository here')
    .argument('[app]', 'default: GANTRY_APP, then the name of the folder')
    .option('--force', 'also when the remote leads elsewhere')
    .action(async (app: string | undefined, options: { force?: boolean }) =>
      (await import('../commands/link.ts')).link(app, options),
    );
  program
    .command('credential', { hidden: true })
    .description("git's credential helper")
    .addArgument(new Argument('<action>').choices(['get', 'store', 'erase']))
    .action(async (action: string) => (await import('../commands/credential.ts')).credential(action));
  const tokens = program.command('tokens').description('who may do what; for administrators');
  tokens
    .command('list', { isDefault: true })
    .option('--json')
    .action(async (options: { json?: boolean }) =>
      (await import('../commands/tokens.ts')).listTokens(options),
    );
  tokens
    .command('create')
    .description('make a token and print it; it is shown only then')
    .argument('<name>', 'whose or what it is for: ana, ci-shop')
    .requiredOption('-s, --scope <scope...>', 'admin, deploy:APP or read:APP')
    .option('-e, --expires <when>', '90d, 12h or 2030-12-31 (default: never)')
    .option('--json')
    .action(async (name: string, options: { scope: string[]; expires?: string; json?: boolean }) =>
      (await import('../commands/tokens.ts')).createToken(name, options),
    );
  tokens
    .command('revoke')
    .description('it stops working at once')
    .argument('<id>')
    .action(async (id: string) => (await import('../commands/tokens.ts')).revokeToken(id));
  program
    .command('whoami')
    .description('whose token this is, and what it may do')
    .option('--json')
    .action(async (options: { json?: boolean }) => (await import('../commands/tokens.ts')).whoami(options));
  program
    .command('audit')
    .description('who did what; for administrators')
    .option('-a, --app <name>', 'about this app only')
    .option('-n, --limit <number>', 'the newest so many', '50')
    .option('--json')
    .action(async (options: { app?: string; limit: string; json?: boolean }) =>
      (await import('../commands/audit.ts')).showAudit(options),
    );
}
