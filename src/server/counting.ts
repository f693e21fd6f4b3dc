import type { Authenticate } from '../access/authenticator.ts';

/** The same, and whoever counts them learns of each refusal of a secret. */
export function counting(authenticate: Authenticate, onRefusal: () => void): Authenticate {
  return async (secret, address) => {
    const answer = await authenticate(secret, address);
    // git asks without a token first, to learn that it needs one.
    if (secret && 'refused' in answer) onRefusal();
    return answer;
  };
}
