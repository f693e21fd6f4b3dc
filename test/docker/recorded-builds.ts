/** What a Docker 20.10 engine sent; the traces are whole messages of BuildKit, the rest is shortened. */

/** `RUN echo a; echo err >&2; printf par; sleep 1; echo tial`, then `RUN cat /nope; exit 7`. */
export const buildkitFailure: Record<string, unknown>[] = [
  trace(
    'Cm8KR3NoYTI1NjpmODlhNDQ2MDIwNGYyYmY0Y2E4NTNiZTkyOTFlNTE2NDQ2NDcxZWU0N2MyNjkzYTdiN2ZmYjFkZmZhNDAzNDA3GiRbaW50ZXJuYWxdIGxvYWQgcmVtb3RlIGJ1aWxkIGNvbnRleHQ=',
  ),
  trace(
    'CtIBCkdzaGEyNTY6OGY3NTBkOTZhM2Q5MGI4OWZmOTJhYTkxZmQxZGFiZTVmNWQyZTkwM2M2YmE1NjI3NWU5Yzc0M2U3ZDdhZTRkYhJHc2hhMjU2OjIwMzY0NDJlMDIwZDdiMWYzYjI1MTcyYjhlMmYxZjI2ZWJiNDUyMTE0NTE5YjZiZmIwYTdjZTdjNmI0ZTQ4MzYaPlsyLzNdIFJVTiBlY2hvIGE7IGVjaG8gZXJyID4mMjsgcHJpbnRmIHBhcjsgc2xlZXAgMTsgZWNobyB0aWFsCq8BCkdzaGEyNTY6ODlhOTJjMWRiZTlmNTUwMjFlYmFjNjhhOTYwZGJkNzAxYzU5YmU4MDY0MzU2ZGMwMWEwNTFkNTEwMzU1NGQ2NhJHc2hhMjU2OjhmNzUwZDk2YTNkOTBiODlmZjkyYWE5MWZkMWRhYmU1ZjVkMmU5MDNjNmJhNTYyNzVlOWM3NDNlN2Q3YWU0ZGIaG1szLzNdIFJVTiBjYXQgL25vcGU7IGV4aXQgNwqGAQpHc2hhMjU2OjIwMzY0NDJlMDIwZDdiMWYzYjI1MTcyYjhlMmYxZjI2ZWJiNDUyMTE0NTE5YjZiZmIwYTdjZTdjNmI0ZTQ4MzYaH1sxLzNdIEZST00gZG9ja2VyLmlvL3Byb2JlL2JiOjEqDAivvIPYBhDP17W5AjIMCK+8g9gGEMT9ybkC',
  ),
  trace(
    'CuABCkdzaGEyNTY6OGY3NTBkOTZhM2Q5MGI4OWZmOTJhYTkxZmQxZGFiZTVmNWQyZTkwM2M2YmE1NjI3NWU5Yzc0M2U3ZDdhZTRkYhJHc2hhMjU2OjIwMzY0NDJlMDIwZDdiMWYzYjI1MTcyYjhlMmYxZjI2ZWJiNDUyMTE0NTE5YjZiZmIwYTdjZTdjNmI0ZTQ4MzYaPlsyLzNdIFJVTiBlY2hvIGE7IGVjaG8gZXJyID4mMjsgcHJpbnRmIHBhcjsgc2xlZXAgMTsgZWNobyB0aWFsKgwIr7yD2AYQyoOHwgI=',
  ),
  trace(
    'Gl0KR3NoYTI1Njo4Zjc1MGQ5NmEzZDkwYjg5ZmY5MmFhOTFmZDFkYWJlNWY1ZDJlOTAzYzZiYTU2Mjc1ZTljNzQzZTdkN2FlNGRiEgwIr7yD2AYQ4K/0tgMYASICYQoaXgpHc2hhMjU2OjhmNzUwZDk2YTNkOTBiODlmZjkyYWE5MWZkMWRhYmU1ZjVkMmU5MDNjNmJhNTYyNzVlOWM3NDNlN2Q3YWU0ZGISDAivvIPYBhDC2va2AxgBIgNwYXI=',
  ),
  trace(
    'Gl8KR3NoYTI1Njo4Zjc1MGQ5NmEzZDkwYjg5ZmY5MmFhOTFmZDFkYWJlNWY1ZDJlOTAzYzZiYTU2Mjc1ZTljNzQzZTdkN2FlNGRiEgwIr7yD2AYQgq/5tgMYAiIEZXJyCg==',
  ),
  trace(
    'GmAKR3NoYTI1Njo4Zjc1MGQ5NmEzZDkwYjg5ZmY5MmFhOTFmZDFkYWJlNWY1ZDJlOTAzYzZiYTU2Mjc1ZTljNzQzZTdkN2FlNGRiEgwIsLyD2AYQ/IHvtwMYASIFdGlhbAo=',
  ),
  trace(
    'Cr0BCkdzaGEyNTY6ODlhOTJjMWRiZTlmNTUwMjFlYmFjNjhhOTYwZGJkNzAxYzU5YmU4MDY0MzU2ZGMwMWEwNTFkNTEwMzU1NGQ2NhJHc2hhMjU2OjhmNzUwZDk2YTNkOTBiODlmZjkyYWE5MWZkMWRhYmU1ZjVkMmU5MDNjNmJhNTYyNzVlOWM3NDNlN2Q3YWU0ZGIaG1szLzNdIFJVTiBjYXQgL25vcGU7IGV4aXQgNyoMCLC8g9gGELmztr8D',
  ),
  trace(
    'Go4BCkdzaGEyNTY6ODlhOTJjMWRiZTlmNTUwMjFlYmFjNjhhOTYwZGJkNzAxYzU5YmU4MDY0MzU2ZGMwMWEwNTFkNTEwMzU1NGQ2NhIMCLG8g9gGELjn+5MBGAIiM2NhdDogY2FuJ3Qgb3BlbiAnL25vcGUnOiBObyBzdWNoIGZpbGUgb3IgZGlyZWN0b3J5Cg==',
  ),
  trace(
    'CpECCkdzaGEyNTY6ODlhOTJjMWRiZTlmNTUwMjFlYmFjNjhhOTYwZGJkNzAxYzU5YmU4MDY0MzU2ZGMwMWEwNTFkNTEwMzU1NGQ2NhJHc2hhMjU2OjhmNzUwZDk2YTNkOTBiODlmZjkyYWE5MWZkMWRhYmU1ZjVkMmU5MDNjNmJhNTYyNzVlOWM3NDNlN2Q3YWU0ZGIaG1szLzNdIFJVTiBjYXQgL25vcGU7IGV4aXQgNyoMCLC8g9gGELmztr8DMgwIsbyD2AYQ/pKQmgE6RGV4ZWN1dG9yIGZhaWxlZCBydW5uaW5nIFsvYmluL3NoIC1jIGNhdCAvbm9wZTsgZXhpdCA3XTogZXhpdCBjb2RlOiA3',
  ),
  {
    errorDetail: { message: 'executor failed running [/bin/sh -c cat /nope; exit 7]: exit code: 7' },
    error: 'executor failed running [/bin/sh -c cat /nope; exit 7]: exit code: 7',
  },
];

export const legacyTwoStages: Record<string, unknown>[] = [
  ...step('Step 1/5 : FROM base AS first'),
  { stream: ' ---> 0e0b00375f87\n' },
  ...step('Step 2/5 : RUN make'),
  { stream: ' ---> Using cache\n' },
  { stream: ' ---> 39e7e1908332\n' },
  { aux: { ID: `sha256:${'1'.repeat(64)}` } },
  ...step('Step 3/5 : FROM base'),
  { stream: ' ---> 0e0b00375f87\n' },
  ...step('Step 4/5 : RUN echo a; echo err >&2; printf par; sleep 1; echo tial; echo'),
  { stream: ' ---> Running in 5a55afc9e66e\n' },
  { stream: 'a\n' },
  { stream: 'par' },
  { stream: '\u001b[91merr\n\u001b[0m' },
  { stream: 'tial\n\n' },
  { stream: 'Removing intermediate container 5a55afc9e66e\n' },
  { stream: ' ---> 39e7e1908333\n' },
  ...step('Step 5/5 : LABEL gantry.app=web'),
  { stream: ' ---> Running in 5a55afc9e66f\n' },
  { stream: 'Removing intermediate container 5a55afc9e66f\n' },
  { stream: ' ---> 39e7e1908334\n' },
  { aux: { ID: `sha256:${'2'.repeat(64)}` } },
  { stream: '[Warning] One or more build-args [A B] were not consumed\n' },
  { stream: 'Successfully built 222222222222\n' },
  { stream: 'Successfully tagged web:1\n' },
];

function trace(aux: string): Record<string, unknown> {
  return { id: 'moby.buildkit.trace', aux };
}

/** The builder sends the end of such a line by itself. */
function step(stream: string): Record<string, unknown>[] {
  return [{ stream }, { stream: '\n' }];
}
