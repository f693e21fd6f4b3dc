import { Option } from 'commander';

export const appOption = [
  '-a, --app <name>',
  'the app (default: GANTRY_APP, then the git remote "clever")',
] as const;
export const portHelp = 'the one the app listens on (default: of its variables or image)';
export const commandHelp = 'what to start instead of what the image says, through its sh -c';
export const endpointHelp = 'the path an http check asks for';
export const timeoutHelp = 'how long a new container may take to become healthy';
export function healthCheckOption(): Option {
  return new Option('-u, --health-check-type <type>', 'it takes connections, answers 200, or runs').choices([
    'port',
    'http',
    'process',
    'default',
  ]);
}
