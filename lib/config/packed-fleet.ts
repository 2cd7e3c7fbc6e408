import { gunzipSync, gzipSync } from 'node:zlib';

/**
 * A fleet file as CloudFormation carries it: compressed, so that a large one fits into a template and an event, with the
 * values beside it that are only known at deployment.
 */
export interface PackedFleet {
  /** Base64 of the gzipped JSON text, in which `{holdfast:n}` stands for the nth value. */
  readonly fleet: string;
  readonly values: readonly string[];
}

const reference = (n: number) => `{holdfast:${n}}`;

/** Packs a fleet file's text. `late` are the texts within it that are known at deployment only, each once. */
export function packFleet(text: string, late: readonly string[] = []): PackedFleet {
  const packed = late.reduce((rest, value, n) => rest.replaceAll(value, reference(n)), text);
  return { fleet: gzipSync(packed, { level: 9 }).toString('base64'), values: late };
}

/** The text of a packed fleet file. Throws where it is not one. */
export function unpackFleet({ fleet, values }: PackedFleet): string {
  const text = gunzipSync(Buffer.from(fleet, 'base64')).toString('utf8');
  // Inside a string of JSON: quotes are the file's own.
  return values.reduce((rest, value, n) => rest.replaceAll(reference(n), JSON.stringify(value).slice(1, -1)), text);
}
