/**
 * One line of what a deployment tells people.
 * `heading` and `detail` are ours, `output` came from the app's own build, hook or container,
 * `error`, `hint` and `success` are the outcome block at the end.
 */
export type LogLine = {
  kind: 'heading' | 'detail' | 'output' | 'error' | 'warning' | 'hint' | 'success';
  text: string;
};

/**
 * The text of a line in a terminal, a push or a page. App output is always indented, so it can never pass for ours.
 * `error:`, `hint:`, `warning:` and `success:` at the start of a line are coloured by the git client itself.
 */
export function renderLogLine(line: LogLine): string {
  switch (line.kind) {
    case 'heading':
      return `-----> ${line.text}`;
    case 'detail':
    case 'output':
      return `       ${line.text}`;
    case 'error':
    case 'warning':
    case 'hint':
    case 'success':
      return `${line.kind}: ${line.text}`;
  }
}
