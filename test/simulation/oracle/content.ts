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
