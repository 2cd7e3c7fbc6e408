import { Aws } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { keysOf } from '../lib/config/encryption.ts';
import type { BackendConfig, CredentialsConfig } from '../lib/config/fleet-file.ts';
import { type WorkerName, workerNames } from '../lib/config/workers.ts';
import type { Grantee } from './actors.ts';
import type { FleetTables } from './holdfast-tables.ts';
import { isOnAws, type Plan } from './validate.ts';

type TableUse = Readonly<Partial<Record<'objects' | 'queue' | 'control', readonly string[]>>>;

/** What every tick does: reads the fleet, holds its lease, reports health and usage, tidies the ledger. */
const everyTick = ['Query', 'PutItem', 'UpdateItem', 'DeleteItem'];
/** Every worker reads records as they are now, and changes them by `commit`. */
const records = ['BatchGetItem', 'PutItem'];

interface Access {
  readonly tables: TableUse;
  /** Indexes it queries. */
  readonly indexes: readonly ('by-placement' | 'by-key' | 'due')[];
  /** What it does with the bytes on AWS backends, besides reading them. */
  readonly bytes: 'read' | 'write' | 'write-parts' | 'delete' | 'own-keys';
}

/** What a worker may do whose rights are not named below: find objects, read copies, change records, and put bytes into the queue. */
export const usual: Access = {
  tables: { objects: records, queue: ['PutItem'], control: everyTick },
  indexes: ['by-key', 'by-placement'],
  bytes: 'read',
};

const named: Readonly<Partial<Record<Grantee, Access>>> & Readonly<Record<Exclude<Grantee, WorkerName>, Access>> = {
  replicator: {
    tables: { objects: records, queue: ['PutItem', 'DeleteItem'], control: everyTick },
    indexes: ['by-placement', 'due'],
    bytes: 'write-parts',
  },
  'over-replication-cleaner': {
    tables: { objects: ['PutItem'], queue: ['PutItem'], control: everyTick },
    indexes: ['by-placement'],
    bytes: 'read',
  },
  // What it moves in parts it begins, and goes on with, as the replicator does.
  rebalancer: {
    tables: { objects: records, queue: ['PutItem', 'DeleteItem'], control: everyTick },
    indexes: ['by-placement', 'due'],
    bytes: 'write-parts',
  },
  'cleanup-queue': {
    tables: { objects: records, queue: ['PutItem', 'DeleteItem'], control: everyTick },
    indexes: ['due'],
    bytes: 'delete',
  },
  'pending-reaper': {
    tables: { objects: records, queue: ['PutItem', 'DeleteItem'], control: everyTick },
    indexes: ['due'],
    bytes: 'read',
  },
  scrubber: {
    tables: { objects: records, queue: ['PutItem'], control: everyTick },
    indexes: ['by-key'],
    bytes: 'read',
  },
  reconciler: {
    tables: { objects: records, queue: ['BatchGetItem', 'PutItem'], control: everyTick },
    indexes: ['by-key', 'by-placement'],
    bytes: 'read',
  },
  // Like the reconciler, for single keys: it lists nothing.
  importer: {
    tables: { objects: records, queue: ['BatchGetItem', 'PutItem'], control: everyTick },
    indexes: [],
    bytes: 'read',
  },
  // It makes objects, reads them, and brings back what waits for its deletion; what was begun and left behind is others' to find.
  application: {
    tables: {
      objects: records,
      queue: ['BatchGetItem', 'PutItem', 'DeleteItem'],
      control: ['Query', 'PutItem', 'UpdateItem'],
    },
    indexes: ['by-key', 'due'],
    bytes: 'write',
  },
  apply: { tables: { control: ['Query', 'PutItem', 'UpdateItem'] }, indexes: ['by-key'], bytes: 'own-keys' },
};

/** Who may do what. A DynamoDB transaction needs the actions of its parts; nobody may `Scan`. */
export const access: Readonly<Record<Grantee, Access>> = {
  ...(Object.fromEntries(workerNames.map((name) => [name, usual])) as Record<WorkerName, Access>),
  ...named,
};

const indexHome = { 'by-placement': 'objects', 'by-key': 'objects', due: 'queue' } as const;

/** The statements of one function's role, least first. */
export function statementsFor(actor: Grantee, plan: Plan, tables: FleetTables): PolicyStatement[] {
  const { file, deployment } = plan;
  const { bytes } = access[actor];
  const secrets = secretsOf(actor, file.backends);
  const buckets = file.backends.filter(isOnAws);
  const kmsKeys = keysOf(file.encryption).flatMap((key) => ('kmsKeyArn' in key ? [key.kmsKeyArn] : []));
  return [
    ...tableStatements(actor, tables),
    ...(secrets.length > 0 ? [statement('Secrets', ['secretsmanager:GetSecretValue'], secrets)] : []),
    ...bucketStatements(bytes, buckets, plan.parameters.preservesTags),
    ...encryptionStatements(actor, kmsKeys),
    ...(tables.encryptionKey ? [statement('TableKey', tableKeyActions, [tables.encryptionKey.keyArn])] : []),
    ...(deployment.kmsKeyArns.length > 0 && (secrets.length > 0 || buckets.length > 0)
      ? [
          statement(
            'Keys',
            bytes !== 'read' && bytes !== 'delete' ? ['kms:Decrypt', 'kms:GenerateDataKey'] : ['kms:Decrypt'],
            deployment.kmsKeyArns,
          ),
        ]
      : []),
  ];
}

/** What DynamoDB does with a customer's key on behalf of who reads and writes a table. */
const tableKeyActions = ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:ReEncryptFrom'];

/** Workers move ciphertext as it is; the scrubber looks inside, to check the plaintext, and applications read and write it. */
function encryptionStatements(actor: Grantee, kmsKeys: readonly string[]): PolicyStatement[] {
  if (kmsKeys.length === 0) return [];
  if (actor === 'application') return [statement('Encryption', ['kms:Decrypt', 'kms:GenerateDataKey'], kmsKeys)];
  return actor === 'scrubber' ? [statement('Encryption', ['kms:Decrypt'], kmsKeys)] : [];
}

function tableStatements(actor: Grantee, tables: FleetTables): PolicyStatement[] {
  const { tables: uses, indexes } = access[actor];
  const byTable = Object.entries(uses).map(([name, actions]) =>
    statement(
      titled(name),
      actions.map((action) => `dynamodb:${action}`),
      [tables[name as keyof TableUse].tableArn],
    ),
  );
  // Which tables these are is part of what an owner object says.
  const identity = statement('Identity', ['dynamodb:DescribeTable'], [tables.objects.tableArn]);
  const indexArns = indexes.map((index) => `${tables[indexHome[index]].tableArn}/index/${index}`);
  return [...byTable, identity, ...(indexArns.length > 0 ? [statement('Indexes', ['dynamodb:Query'], indexArns)] : [])];
}

/** Only what deletes reads `deleteCredentials`; it reads the others too, since it also asks for owners and verifies. */
function secretsOf(actor: Grantee, backends: readonly BackendConfig[]): string[] {
  const arnOf = (credentials: CredentialsConfig | undefined) =>
    typeof credentials === 'object' && 'secretArn' in credentials ? [credentials.secretArn] : [];
  const mayDelete = ['delete', 'own-keys'].includes(access[actor].bytes);
  const arns = backends.flatMap(({ credentials, deleteCredentials }) => [
    ...arnOf(credentials),
    ...(mayDelete ? arnOf(deleteCredentials) : []),
  ]);
  return [...new Set(arns)].sort();
}

/**
 * Bucket by bucket, prefix by prefix: what a function does by its own role. It deletes only if it is the one hand that
 * deletes, or `apply` on Holdfast's own keys.
 */
function bucketStatements(
  bytes: Access['bytes'],
  backends: readonly BackendConfig[],
  withTags: boolean,
): PolicyStatement[] {
  const ours = backends.filter(({ credentials }) => credentials === 'role');
  const oursToDelete = backends.filter((b) => (b.deleteCredentials ?? b.credentials) === 'role');
  const below = bytes === 'own-keys' ? '.holdfast/' : '';
  const at = (group: readonly BackendConfig[]) =>
    group.map(({ bucket, prefix }) => s3Arn(`${bucket}/${prefix}${below}*`));
  const inside = (sid: string, actions: string[], group: readonly BackendConfig[]) => {
    const byPrefix = Map.groupBy(group, ({ prefix }) => prefix + below);
    return [...byPrefix].map(([prefix, same], i) => {
      const buckets = same.map(({ bucket }) => s3Arn(bucket));
      const policy = statement(`${sid}${i === 0 ? '' : i + 1}`, actions, buckets);
      // A HEAD names no prefix, and is answered 404 instead of 403 only to who may list.
      if (prefix !== '') policy.addCondition('StringLikeIfExists', { 's3:prefix': `${prefix}*` });
      return policy;
    });
  };
  const reads = [statement('Read', ['s3:GetObject'], at(ours)), ...inside('List', ['s3:ListBucket'], ours)];
  // A storage key is written once: who writes objects may not write over any.
  const create = [
    statement('Create', ['s3:PutObject'], at(ours), { Null: { 's3:if-none-match': 'false' } }),
    // Requests that begin an upload and send its parts make no object, and know no condition.
    statement('CreateParts', ['s3:PutObject'], at(ours), { Bool: { 's3:ObjectCreationOperation': 'false' } }),
  ];
  // Always the same key, written over by the next check.
  const check = statement('WriteCheck', ['s3:PutObject'], exactly(ours, '.holdfast/write-check'));
  const ownKeys = statement('Write', ['s3:PutObject'], at(ours));
  const tags = statement('Tags', ['s3:GetObjectTagging', 's3:PutObjectTagging'], at(ours));
  const writes = [...create, check, ...(withTags ? [tags] : [])];
  // An upload in parts is no object yet: who began it may give it up.
  const parts = [
    statement('Parts', ['s3:ListMultipartUploadParts', 's3:AbortMultipartUpload'], at(ours)),
    ...inside('Uploads', ['s3:ListBucketMultipartUploads'], ours),
  ];
  const deletes = [
    statement('Delete', ['s3:DeleteObject', 's3:DeleteObjectVersion'], at(oursToDelete)),
    ...inside('Versions', ['s3:ListBucketVersions'], oursToDelete),
  ];
  const leftovers = [
    statement('Abort', ['s3:AbortMultipartUpload'], at(oursToDelete)),
    ...inside('Uploads', ['s3:ListBucketMultipartUploads'], oursToDelete),
  ];
  const ownUploads = statement('Parts', ['s3:ListMultipartUploadParts', 's3:AbortMultipartUpload'], at(ours));
  const aborts = [statement('Abort', ['s3:AbortMultipartUpload'], at(ours))];
  const all = {
    read: reads,
    // What an undelete brings back keeps its tags.
    write: [...reads, ...create, ...(withTags ? [tags] : []), ...aborts],
    'write-parts': [...reads, ...writes, ...parts],
    delete: [...reads, ...deletes, ...leftovers],
    // Whether a backend keeps tags is found out whatever is preserved; so is what it says of an upload that is gone.
    'own-keys': [...reads, ownKeys, tags, ...deletes, ownUploads],
  }[bytes];
  return all.filter(({ resources }) => resources.length > 0);
}

function s3Arn(resource: string): string {
  return `arn:${Aws.PARTITION}:s3:::${resource}`;
}

function exactly(backends: readonly BackendConfig[], storageKey: string): string[] {
  return backends.map(({ bucket, prefix }) => s3Arn(`${bucket}/${prefix}${storageKey}`));
}

function statement(
  sid: string,
  actions: readonly string[],
  resources: readonly string[],
  conditions: Readonly<Record<string, Readonly<Record<string, string>>>> = {},
): PolicyStatement {
  return new PolicyStatement({ sid, actions: [...actions], resources: [...resources], conditions });
}

function titled(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
