import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  type TableDescription,
  UpdateTimeToLiveCommand,
} from '@aws-sdk/client-dynamodb';
import type { Clock } from '../../base/clock.ts';
import {
  type IndexDefinition,
  type KeyAttribute,
  type TableDefinition,
  type TableNames,
  tableDefinitions,
} from '../../config/tables.ts';
import { StoreError } from '../port.ts';
import { storeErrorOf } from './errors.ts';

const pollMs = 500;
const patienceMs = 5 * 60_000;

/**
 * Creates what is missing of the three tables and waits until all of them can be used. Safe to repeat and to run from
 * several processes at once. Throws `rejected` when a table of that name exists but is not ours.
 */
export async function createTables(client: DynamoDBClient, names: TableNames, clock: Clock): Promise<void> {
  await Promise.all(Object.values(tableDefinitions(names)).map((table) => createTable(client, table, clock)));
}

async function createTable(client: DynamoDBClient, table: TableDefinition, clock: Clock): Promise<void> {
  try {
    if (!(await describe(client, table.name))) await create(client, table);
    const description = await untilActive(client, table, clock);
    const difference = differenceOf(description, table);
    if (difference) {
      throw new StoreError('rejected', `Cannot use table "${table.name}": ${difference}; choose another name`);
    }
    if (table.ttlAttribute !== undefined) await enableTtl(client, table.name, table.ttlAttribute);
  } catch (error) {
    throw storeErrorOf(error, { doing: `create table "${table.name}"`, tables: [table.name] });
  }
}

async function describe(client: DynamoDBClient, name: string): Promise<TableDescription | undefined> {
  try {
    return (await client.send(new DescribeTableCommand({ TableName: name }))).Table;
  } catch (error) {
    if (nameOf(error) === 'ResourceNotFoundException') return undefined;
    throw error;
  }
}

async function create(client: DynamoDBClient, table: TableDefinition): Promise<void> {
  try {
    await client.send(new CreateTableCommand(createTableInput(table)));
  } catch (error) {
    // Another process was faster.
    if (nameOf(error) !== 'ResourceInUseException') throw error;
  }
}

async function untilActive(client: DynamoDBClient, table: TableDefinition, clock: Clock): Promise<TableDescription> {
  const giveUpAt = clock.now() + patienceMs;
  for (;;) {
    // A table just created may not be described yet.
    const description = await describe(client, table.name);
    if (description?.TableStatus === 'ACTIVE' || description?.TableStatus === 'UPDATING') return description;
    if (clock.now() >= giveUpAt) {
      const status = description?.TableStatus ?? 'absent';
      throw new StoreError(
        'unanswered',
        `Table "${table.name}" is still ${status} after ${patienceMs / 60_000} minutes`,
      );
    }
    await clock.sleep(pollMs);
  }
}

async function enableTtl(client: DynamoDBClient, name: string, attribute: string): Promise<void> {
  try {
    const answer = await client.send(new DescribeTimeToLiveCommand({ TableName: name }));
    if (/^ENABL/.test(answer.TimeToLiveDescription?.TimeToLiveStatus ?? '')) return;
    const specification = { AttributeName: attribute, Enabled: true };
    await client.send(new UpdateTimeToLiveCommand({ TableName: name, TimeToLiveSpecification: specification }));
  } catch (error) {
    // A local DynamoDB may not know TTL; a second process may have just enabled it.
    if (nameOf(error) === 'UnknownOperationException') return;
    if (nameOf(error) === 'ValidationException' && /TimeToLive/i.test(String(error))) return;
    throw error;
  }
}

/** What an existing table lacks to be ours, in words; undefined when nothing. */
function differenceOf(description: TableDescription, table: TableDefinition): string | undefined {
  const wanted = keyText(keySchema(table.partitionKey, table.sortKey));
  const found = keyText(description.KeySchema ?? []);
  if (found !== wanted) return `its key is ${found}, not ${wanted}`;
  const indexes = new Set(description.GlobalSecondaryIndexes?.map((index) => index.IndexName));
  const missing = table.indexes.find((index) => !indexes.has(index.name));
  return missing && `it has no index "${missing.name}"`;
}

function keyText(schema: readonly { AttributeName?: string | undefined }[]): string {
  return `(${schema.map((key) => key.AttributeName).join(', ')})`;
}

/** A definition as DynamoDB's own request. */
export function createTableInput(table: TableDefinition): CreateTableCommandInput {
  const keys = [table, ...table.indexes].flatMap(({ partitionKey, sortKey }) =>
    sortKey ? [partitionKey, sortKey] : [partitionKey],
  );
  const distinct = [...new Map(keys.map((key) => [key.name, key])).values()];
  const input: CreateTableCommandInput = {
    TableName: table.name,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: distinct.map((key) => ({
      AttributeName: key.name,
      AttributeType: key.type === 'number' ? 'N' : 'S',
    })),
    KeySchema: keySchema(table.partitionKey, table.sortKey),
  };
  if (table.indexes.length > 0) input.GlobalSecondaryIndexes = table.indexes.map(indexInput);
  return input;
}

function indexInput({ name, partitionKey, sortKey, projects }: IndexDefinition) {
  const isList = typeof projects !== 'string';
  return {
    IndexName: name,
    KeySchema: keySchema(partitionKey, sortKey),
    Projection: isList
      ? { ProjectionType: 'INCLUDE' as const, NonKeyAttributes: [...projects] }
      : { ProjectionType: projects === 'all' ? ('ALL' as const) : ('KEYS_ONLY' as const) },
  };
}

function keySchema(partitionKey: KeyAttribute, sortKey?: KeyAttribute) {
  const partition = { AttributeName: partitionKey.name, KeyType: 'HASH' as const };
  return sortKey ? [partition, { AttributeName: sortKey.name, KeyType: 'RANGE' as const }] : [partition];
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}
