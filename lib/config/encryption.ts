export type KeyConfig = { readonly kmsKeyArn: string } | { readonly rawKeyEnv: string };

/** The keys of a fleet: at most one that encrypts, and those that may decrypt besides. */
export interface EncryptionConfig {
  readonly kmsKeyArn?: string;
  readonly rawKeyEnv?: string;
  readonly decryptOnly?: readonly KeyConfig[];
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
