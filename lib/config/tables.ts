/** The names under which a fleet's three tables exist. */
export interface TableNames {
  readonly objects: string;
  readonly queue: string;
  readonly control: string;
}

export const defaultTableNames: TableNames = {
  objects: 'holdfast-objects',
  queue: 'holdfast-queue',
  control: 'holdfast-control',
};

export interface KeyAttribute {
  readonly name: string;
  readonly type: 'string' | 'number';
}

export interface IndexDefinition {
  readonly name: string;
  readonly partitionKey: KeyAttribute;
  readonly sortKey: KeyAttribute;
  /** The attributes that the index holds besides its own keys and the table's. */
  readonly projects: 'all' | 'keys' | readonly string[];
}

/** One table, on-demand by default. */
export interface TableDefinition {
  readonly name: string;
  readonly partitionKey: KeyAttribute;
  readonly sortKey?: KeyAttribute;
  readonly indexes: readonly IndexDefinition[];
  /** The attribute by which DynamoDB expires items, in seconds since the epoch. */
  readonly ttlAttribute?: string;
}

/** Finds work: objects by policy, shard and set of backends. Tombstones have no `placement`, so they are not in it. */
export const byPlacementIndex = 'by-placement';
/** Walks keys in order, shard by shard: of objects, and of tombstones that remember a file. */
export const byKeyIndex = 'by-key';
/** Finds queue items that are due, lane by lane. */
export const dueIndex = 'due';

const text = (name: string): KeyAttribute => ({ name, type: 'string' });
const number = (name: string): KeyAttribute => ({ name, type: 'number' });

/** The definitions of the Objects, Queue and Control tables, for whoever creates them. */
export function tableDefinitions(names: TableNames): Readonly<Record<keyof TableNames, TableDefinition>> {
  return {
    objects: {
      name: names.objects,
      partitionKey: text('key'),
      indexes: [
        {
          name: byPlacementIndex,
          partitionKey: text('placement'),
          sortKey: text('key'),
          // A swap is built on what was found: what were missing here, it would erase.
          projects: 'all',
        },
        { name: byKeyIndex, partitionKey: text('shard'), sortKey: text('key'), projects: 'keys' },
      ],
      ttlAttribute: 'ttl',
    },
    queue: {
      name: names.queue,
      partitionKey: text('id'),
      indexes: [{ name: dueIndex, partitionKey: text('lane'), sortKey: number('dueAt'), projects: 'all' }],
    },
    control: {
      name: names.control,
      partitionKey: text('pk'),
      sortKey: text('sk'),
      indexes: [],
      ttlAttribute: 'ttl',
    },
  };
}
