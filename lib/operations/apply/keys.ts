import {
  type EncryptionConfig,
  encryptingKeyId,
  type KeyConfig,
  keyIdOf,
  keyIdsOf,
  keysOf,
  rawKeyCheck,
} from '../../config/encryption.ts';
import type { FleetFile } from '../../config/fleet-file.ts';
import type { FleetConfig, FleetView } from '../../store/fleet-view.ts';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * A key leaves in two steps: it stops encrypting first, and may be removed this long afterwards, when nothing names it. By
 * then no put is on its way that sealed content with it and has not said so: a put names its bytes within ten minutes of
 * its last look at the fleet file.
 */
const retiredMs = 20 * 60_000;

/** Why keys cannot be as a file has them, a sentence each: what is encrypted must stay readable. */
export function problemsOfKeys(view: FleetView, file: FleetFile, env: Env, now: number): string[] {
  return [...removedKeys(view, file, now), ...changedKeys(view, file, env)];
}

function removedKeys(view: FleetView, file: FleetFile, now: number): string[] {
  const { config } = view;
  if (config === null) return [];
  const staying = new Set(keyIdsOf(file));
  return keyIdsOf(config.file)
    .filter((keyId) => !staying.has(keyId))
    .flatMap((keyId) => {
      const why = whyNeeded(view, config, keyId, now);
      return why === null ? [] : [`Encryption key "${keyId}" cannot be removed: ${why}`];
    });
}

function whyNeeded(view: FleetView, config: FleetConfig, keyId: string, now: number): string | null {
  const { objects = 0, bytes = 0 } = view.keys().get(keyId) ?? {};
  if (objects > 0)
    return `${objects} objects or queue items (${bytes} bytes) are encrypted with it; list it in "decryptOnly"`;
  if (encryptingKeyId(config.file) === keyId)
    return 'content is encrypted with it now; list it in "decryptOnly" first, and remove it 20 minutes later';
  const retiredAt = config.retiredKeys[keyId];
  if (retiredAt === undefined || now - retiredAt >= retiredMs) return null;
  return `content was encrypted with it until ${new Date(retiredAt).toISOString()}; remove it 20 minutes after that`;
}

/** A raw key is named by its variable: another value under the same name is another key. */
function changedKeys(view: FleetView, file: FleetFile, env: Env): string[] {
  const checks = keyChecksOf(file.encryption, env);
  return Object.entries(checks).flatMap(([keyId, check]) => {
    const { objects = 0 } = view.keys().get(keyId) ?? {};
    const before = view.config?.keyChecks[keyId];
    if (objects === 0 || before === undefined || before === check) return [];
    return [
      `Encryption key "${keyId}" has another value than the one that ${objects} objects or queue items are encrypted with: give the new key a variable of its own, and list the old one in "decryptOnly"`,
    ];
  });
}

/** What tells the raw keys that this process has from others, without giving them away. */
function keyChecksOf(encryption: EncryptionConfig | undefined, env: Env): Record<string, string> {
  const known = keysOf(encryption).flatMap((key) => {
    const value = 'rawKeyEnv' in key ? env[key.rawKeyEnv] : undefined;
    return value === undefined || value === '' ? [] : [[keyIdOf(key), rawKeyCheck(value)] as const];
  });
  return Object.fromEntries(known);
}

/** What is to be kept of keys beside a file that is put in force. */
export function keyFieldsOf(
  view: FleetView,
  file: FleetFile,
  env: Env,
  now: number,
): Pick<FleetConfig, 'retiredKeys' | 'keyChecks'> {
  const { config } = view;
  const former = config === null ? undefined : encryptingKeyId(config.file);
  const retired = { ...config?.retiredKeys, ...(former === undefined ? {} : { [former]: now }) };
  const listed = new Set(keyIdsOf(file));
  const encrypting = encryptingKeyId(file);
  return {
    retiredKeys: only(retired, (keyId) => listed.has(keyId) && keyId !== encrypting),
    keyChecks: only({ ...config?.keyChecks, ...keyChecksOf(file.encryption, env) }, (keyId) => listed.has(keyId)),
  };
}

function only<T>(all: Readonly<Record<string, T>>, isWanted: (name: string) => boolean): Record<string, T> {
  return Object.fromEntries(Object.entries(all).filter(([name]) => isWanted(name)));
}

/**
 * A file with the keys that it would remove and that are still needed, as keys that only decrypt: for a deployment that must
 * be able to go back to the file before, whatever was put meanwhile.
 */
export function withNeededKeys(view: FleetView, file: FleetFile, now: number): FleetFile {
  const { config } = view;
  if (config === null) return file;
  const staying = new Set(keyIdsOf(file));
  const needed = keysOf(config.file.encryption).filter(
    (key) => !staying.has(keyIdOf(key)) && whyNeeded(view, config, keyIdOf(key), now) !== null,
  );
  if (needed.length === 0) return file;
  return { ...file, encryption: { ...file.encryption, decryptOnly: decryptOnlyWith(file.encryption, needed) } };
}

function decryptOnlyWith(encryption: EncryptionConfig | undefined, more: readonly KeyConfig[]): KeyConfig[] {
  return [...(encryption?.decryptOnly ?? []), ...more];
}

/** Keys that something is encrypted with and that a file does not list: after tables were lost nobody knew of them. */
export function missingKeys(view: FleetView, file: FleetFile): string[] {
  const listed = new Set(keyIdsOf(file));
  return [...view.keys()].flatMap(([keyId, { objects }]) =>
    listed.has(keyId)
      ? []
      : [
          `${objects} objects or queue items are encrypted with "${keyId}", which the file does not list: they cannot be read`,
        ],
  );
}
