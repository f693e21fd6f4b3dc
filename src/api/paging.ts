import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';

const mostAtOnce = 100;

/** For every list: at most so many, after this one. What `after` holds comes from the `Link` of the page before. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(mostAtOnce).default(mostAtOnce),
  after: z.string().max(100).optional(),
});

type Page = z.infer<typeof pageQuery>;

/** Of items that are in the order of their keys, ascending texts or descending numbers. */
export function pageOf<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string | number,
  { query, url }: Pick<FastifyRequest, 'url'> & { query: Page },
  reply: FastifyReply,
): Item[] {
  const { limit, after } = query;
  const rest = items.filter((item) => {
    const key = keyOf(item);
    if (after === undefined) return true;
    return typeof key === 'number' ? key < Number(after) : key > after;
  });
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  if (last !== undefined && rest.length > page.length) linkNext(url, reply, String(keyOf(last)));
  return page;
}

/** RFC 8288: where the next page is. */
export function linkNext(url: string, reply: FastifyReply, after: string): void {
  const next = new URL(url, 'http://localhost');
  next.searchParams.set('after', after);
  void reply.header('link', `<${next.pathname}${next.search}>; rel="next"`);
}
