import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';

const lookEveryMs = 5000;

/**
 * Ends answers that are still being sent, as logs are for hours, when the token they were asked with does not work any
 * more. `onRevoked` is a hint that may be lost, so it looks by itself as well; for tokens that expire nobody gives one.
 */
export function endWithToken(
  api: FastifyInstance,
  working: () => Promise<ReadonlySet<string>>,
  onRevoked: (look: () => void) => () => void,
): void {
  const open = new Map<ServerResponse, string>();

  api.addHook('onRequest', async ({ account }, reply) => {
    if (!account) return;
    open.set(reply.raw, account.tokenId);
    reply.raw.once('close', () => open.delete(reply.raw));
  });

  const look = async (): Promise<void> => {
    if (open.size === 0) return;
    const tokens = await working();
    // One that has not begun was let in, and may be the very request that takes its own token back.
    for (const [answer, tokenId] of open) if (answer.headersSent && !tokens.has(tokenId)) answer.destroy();
  };
  // A store that does not answer is asked again.
  const lookNow = (): void => void look().catch(() => {});
  const timer = setInterval(lookNow, lookEveryMs);
  const stopListening = onRevoked(lookNow);
  api.addHook('onClose', async () => {
    clearInterval(timer);
    stopListening();
  });
}
