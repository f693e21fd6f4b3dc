import type { statusShape } from '../api/contract.ts';
import { call } from './api-client.ts';

export async function status(): Promise<void> {
  const { version, redis, apps } = await call<typeof statusShape>('GET', '/status');
  console.log(`gantry ${version}, redis ${redis}, ${apps} ${apps === 1 ? 'app' : 'apps'}`);
}
