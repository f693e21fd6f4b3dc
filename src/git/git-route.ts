export type GitService = 'upload-pack' | 'receive-pack';

export type GitRoute = {
  /** As typed by the client: not an app name yet. */
  name: string;
  service: GitService;
  method: 'GET' | 'POST';
};

/**
 * The two requests of git's smart protocol, and nothing else. One anchored expression on the undecoded URL:
 * whoever decodes or normalises first ends up authorising another name than the one that is served.
 */
const expression =
  /^\/([^/?#\\]{1,256}?)(?:\.git)?\/(?:(info\/refs)\?service=git-(upload-pack|receive-pack)|git-(upload-pack|receive-pack))$/;

export function parseGitRoute(url: string): GitRoute | undefined {
  const match = expression.exec(url);
  const [, name, advertisement, asked, exchanged] = match ?? [];
  const service = asked ?? exchanged;
  if (name === undefined || service === undefined) return undefined;
  return {
    name,
    service: service === 'upload-pack' ? 'upload-pack' : 'receive-pack',
    method: advertisement === undefined ? 'POST' : 'GET',
  };
}
