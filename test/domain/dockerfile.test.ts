import { describe, expect, it } from 'vitest';
import {
  declaredArguments,
  hereDocumentLine,
  imageToBringCommand,
  syntaxImage,
} from '../../src/domain/dockerfile.ts';

describe('declared arguments', () => {
  it.each([
    ['ARG A', ['A']],
    ['arg A=1 B="two words" C', ['A', 'B', 'C']],
    ['FROM x\n  ARG A=1\nRUN echo ARG B\n', ['A']],
    ['ARG A \\\n  B=2 \\\n# comment\n  C\nRUN true', ['A', 'B', 'C']],
    ['ARG "QUOTED=1"\r\nARG NEXT\r\n', ['QUOTED', 'NEXT']],
    ['# ARG A\nENV ARG=1', []],
  ])('of %j', (dockerfile, names) => {
    expect([...declaredArguments(dockerfile)]).toEqual(names);
  });
});

describe('the syntax line', () => {
  it.each([
    ['# syntax=docker/dockerfile:1\nFROM x', 'docker/dockerfile:1'],
    ['#SYNTAX = a/b@sha256:1\nFROM x', 'a/b@sha256:1'],
    ['# escape=`\n# syntax=a\nFROM x', 'a'],
    ['# a comment\n# syntax=a\nFROM x', undefined],
    ['FROM x\n# syntax=a', undefined],
  ])('of %j', (dockerfile, image) => {
    expect(syntaxImage(dockerfile)).toBe(image);
  });
});

describe('here-documents', () => {
  it.each([
    ['FROM x\nRUN <<EOF\necho\nEOF', 2],
    ['FROM x\nCOPY <<-"EOF" /x', 2],
    ['FROM x\nRUN cat <<EOF > /x', 2],
    ['FROM x\nRUN cat <<< word', undefined],
    ['FROM x\nRUN echo $((1<<3))', undefined],
    ['FROM x\n# RUN <<EOF', undefined],
  ])('in %j', (dockerfile, line) => {
    expect(hereDocumentLine(dockerfile)).toBe(line);
  });
});

describe('the image that has to bring the command', () => {
  it.each([
    ['FROM x\nRUN true', 'x'],
    ['FROM scratch\nCOPY a /a', 'scratch'],
    ['FROM --platform=linux/amd64 x:1 AS final\n', 'x:1'],
    ['FROM x AS one\nCMD ["a"]\nFROM y\n', 'y'],
    ['FROM x AS one\nFROM one AS two\nFROM Two\n', 'x'],
    ['FROM x\n# CMD ["a"]\nRUN echo \\\n  CMD x\n', 'x'],
    ['FROM x\nCMD ["a"]', undefined],
    ['FROM x\n  entrypoint ["a"]', undefined],
    ['FROM x AS one\nENTRYPOINT ["a"]\nFROM one\nRUN true', undefined],
    ['ARG BASE=x\nFROM ${BASE}\n', undefined],
    ['', undefined],
  ])('in %j', (dockerfile, image) => {
    expect(imageToBringCommand(dockerfile)).toBe(image);
  });
});
