type Schema = {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
};
type Operation = {
  'x-gantry-right': string;
  requestBody?: { content: Record<string, { schema: Schema }> };
};

export type ApiOperation = { method: string; path: string; right: string; body: Schema | undefined };

/** Every route in an OpenAPI file. */
export function operationsOf(document: { paths: Record<string, Record<string, Operation>> }): ApiOperation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      right: operation['x-gantry-right'],
      body: operation.requestBody?.content['application/json']?.schema,
    })),
  );
}

/** Something of the shape, with `text` for every text and nothing that may be left out. */
export function sampleOf(schema: Schema, text: string): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf?.[0]) return sampleOf(schema.anyOf[0], text);
  switch ([schema.type].flat()[0]) {
    case 'string':
      return text;
    case 'number':
    case 'integer':
      return 1;
    case 'boolean':
      return true;
    case 'array':
      return [sampleOf(schema.items ?? {}, text)];
    case 'object': {
      const required = schema.required ?? [];
      return Object.fromEntries(
        required.map((name) => [name, sampleOf(schema.properties?.[name] ?? {}, text)]),
      );
    }
    case undefined:
    default:
      return null;
  }
}
