import { randomUUID } from 'node:crypto';
import { baseImage } from './base-image.ts';

/** Serves what the file `version` says, and does something else before. */
export function page(...steps: string[]): string {
  const serve = 'CMD ["httpd","-f","-p","8080","-h","/www"]\n';
  return [`FROM ${baseImage}`, 'COPY version /www/index.html', ...steps, serve].join('\n');
}

/** A step that takes its time, whatever is cached, and says when it has begun: `half-way`. */
export function slowStep(seconds: number): string {
  return `RUN echo ${randomUUID()} half-$(echo way) && sleep ${seconds}`;
}
