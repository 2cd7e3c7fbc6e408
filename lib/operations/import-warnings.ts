import type { FleetFile } from '../config/fleet-file.ts';

/** Policies that encrypt what is put, of which an import of keys with this prefix may meet files. */
export function encryptingPolicies({ policies }: Pick<FleetFile, 'policies'>, wanted = ''): string[] {
  return Object.entries(policies)
    .filter(([, { encrypt, prefix = '' }]) => encrypt && (prefix.startsWith(wanted) || wanted.startsWith(prefix)))
    .map(([name]) => name);
}

/** Whoever lets a policy encrypt may take it for granted that no other provider sees the content of what is imported. */
export function importWarnings(file: Pick<FleetFile, 'policies'>, wanted?: string): string[] {
  return encryptingPolicies(file, wanted).map(
    (name) =>
      `Policy "${name}" encrypts what is put. A file that is imported is not encrypted, and neither are the copies that are made of it`,
  );
}
