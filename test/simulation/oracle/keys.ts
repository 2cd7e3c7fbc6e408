import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Entry } from '../../../lib/store/model.ts';
import { Violation } from './violation.ts';

/** What is encrypted can be read: every key that a record names is one that the fleet file lists. */
export interface KeysCheck {
  /** The table now holds this fleet file. */
  fileWritten(file: FleetFile): void;
  recordChanged(after: Entry | null): void;
}

export function createKeysCheck(
  objects: ReadonlyMap<string, Entry>,
  report: (violation: Violation) => void,
): KeysCheck {
  let listed: ReadonlySet<string> = new Set();

  function check(entry: Entry): void {
    if (entry.kind !== 'object' || entry.encryption === undefined || listed.has(entry.encryption.keyId)) return;
    const message = `"${entry.key}" is encrypted with ${entry.encryption.keyId}, which the fleet file does not list`;
    report(new Violation('keys', message, entry.key));
  }

  return {
    fileWritten({ encryption }) {
      const { rawKeyEnv, decryptOnly = [] } = encryption ?? {};
      const names = [{ rawKeyEnv }, ...decryptOnly].map((key) => `env:${(key as { rawKeyEnv?: string }).rawKeyEnv}`);
      listed = new Set(names);
      for (const entry of objects.values()) check(entry);
    },
    recordChanged(after) {
      if (after !== null) check(after);
    },
  };
}
