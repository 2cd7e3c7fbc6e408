import { createHash } from 'node:crypto';

export type KeyConfig = { readonly kmsKeyArn: string } | { readonly rawKeyEnv: string };

/** The keys of a fleet: at most one that encrypts, and those that may decrypt besides. */
export interface EncryptionConfig {
  readonly kmsKeyArn?: string;
  readonly rawKeyEnv?: string;
  readonly decryptOnly?: readonly KeyConfig[];
}

/** What the values of raw keys were when the fleet file was applied, by key; see `rawKeyCheck`. */
export type KeyChecks = Readonly<Record<string, string>>;

/** Tells one raw key from another without giving it away: 64 bits of a hash of all its 256. */
export function rawKeyCheck(value: string): string {
  return createHash('sha256').update(`holdfast key check ${value}`).digest('hex').slice(0, 16);
}

/** How records name a key: the ARN of a KMS key, or `env:` and the variable of a raw one. */
export function keyIdOf(key: KeyConfig): string {
  return 'kmsKeyArn' in key ? key.kmsKeyArn : `env:${key.rawKeyEnv}`;
}

/** The key that encrypts what is put now; undefined where a fleet only decrypts what it once encrypted. */
export function encryptingKeyOf({ kmsKeyArn, rawKeyEnv }: EncryptionConfig): KeyConfig | undefined {
  if (kmsKeyArn !== undefined) return { kmsKeyArn };
  return rawKeyEnv === undefined ? undefined : { rawKeyEnv };
}

/** The name of the key that content is encrypted with by a fleet file; undefined where no policy encrypts. */
export function encryptingKeyId({
  encryption,
  policies,
}: {
  readonly encryption?: EncryptionConfig | undefined;
  readonly policies: Readonly<Record<string, { readonly encrypt?: boolean | undefined }>>;
}): string | undefined {
  const encrypts = Object.values(policies).some(({ encrypt }) => encrypt);
  const key = encryption === undefined || !encrypts ? undefined : encryptingKeyOf(encryption);
  return key === undefined ? undefined : keyIdOf(key);
}

/** Every key that may decrypt, the one that encrypts first. */
export function keysOf(encryption: EncryptionConfig | undefined): readonly KeyConfig[] {
  if (encryption === undefined) return [];
  const encrypts = encryptingKeyOf(encryption);
  return [...(encrypts === undefined ? [] : [encrypts]), ...(encryption.decryptOnly ?? [])];
}

/** The names of all keys that a fleet file lists. */
export function keyIdsOf({ encryption }: { readonly encryption?: EncryptionConfig | undefined }): readonly string[] {
  return keysOf(encryption).map(keyIdOf);
}
