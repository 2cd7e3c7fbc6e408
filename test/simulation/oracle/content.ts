import { isDeepStrictEqual } from 'node:util';
import type { ObjectHeaders } from '../../../lib/fleet/backend.ts';

/** What travels with a content. */
export interface Description {
  readonly headers: ObjectHeaders;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The content of a file that we did not write. */
export interface Content {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly description: Description;
}

/** Whether both travel alike: a content type that says nothing is what servers fill in where there is none. */
export function isSameDescription(a: Description | undefined, b: Description | undefined): boolean {
  return isDeepStrictEqual(withoutFiller(a), withoutFiller(b));
}

function withoutFiller(description: Description | undefined): Description | undefined {
  if (description?.headers.contentType !== 'application/octet-stream') return description;
  const { contentType: _filler, ...headers } = description.headers;
  return { ...description, headers };
}
