import { defined } from '../../base/defined.ts';
import type { PutOptions } from '../../client/put.ts';
import { markName } from '../../transfer/mark.ts';
import { UsageError } from '../failure.ts';

export interface PutFlags {
  readonly contentType?: string;
  /** `name=value` each. */
  readonly meta?: readonly string[];
  readonly copies?: number;
  readonly ifAbsent?: boolean;
  readonly ifGeneration?: string;
}

/** Flags of `put` as options of the library. Throws `UsageError` for metadata that no header can carry. */
export function putOptions({ contentType, meta = [], copies, ifAbsent, ifGeneration }: PutFlags): PutOptions {
  const metadata: Record<string, string> = {};
  for (const pair of meta) {
    const at = pair.indexOf('=');
    const name = pair.slice(0, at).toLowerCase();
    if (at < 1 || !/^[a-z0-9_.-]+$/.test(name)) throw new UsageError(`--meta "${pair}" is not name=value`);
    if (name === markName) throw new UsageError(`--meta "${pair}": the name "${markName}" is reserved`);
    metadata[name] = pair.slice(at + 1);
  }
  return defined({
    headers: contentType === undefined ? undefined : { contentType },
    metadata: meta.length === 0 ? undefined : metadata,
    copies,
    ifAbsent,
    ifGeneration,
  });
}
