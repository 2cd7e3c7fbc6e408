import { RemovalPolicy } from 'aws-cdk-lib';
import {
  type Attribute,
  AttributeType,
  BillingMode,
  type ITable,
  ProjectionType,
  Table,
  TableEncryption,
} from 'aws-cdk-lib/aws-dynamodb';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct, Dependable, type IDependable } from 'constructs';
import { defined } from '../lib/base/defined.ts';
import {
  defaultTableNames,
  type IndexDefinition,
  type KeyAttribute,
  type TableDefinition,
  type TableNames,
  tableDefinitions,
} from '../lib/config/tables.ts';

/** Read and write units of each table and index when they are provisioned: 25 + 25 in all, which is always free. */
const freeUnits: Readonly<Record<string, { readonly readCapacity: number; readonly writeCapacity: number }>> = {
  objects: { readCapacity: 5, writeCapacity: 6 },
  'by-placement': { readCapacity: 3, writeCapacity: 5 },
  'by-key': { readCapacity: 1, writeCapacity: 1 },
  queue: { readCapacity: 4, writeCapacity: 4 },
  due: { readCapacity: 4, writeCapacity: 4 },
  control: { readCapacity: 8, writeCapacity: 5 },
};

/** How the three tables of a fleet are made. */
export interface HoldfastTablesProps {
  /** [holdfast-objects, holdfast-queue, holdfast-control] */
  readonly names?: Partial<TableNames>;
  /** How they are paid: by request, or provisioned within the 25 + 25 units that are always free [`on-demand`]. */
  readonly capacity?: 'on-demand' | 'provisioned';
  /** Whether they refuse to be deleted [true]. */
  readonly deletionProtection?: boolean;
  /** A key of your own [the one that DynamoDB owns]. */
  readonly encryptionKey?: IKey;
}

/** Tables by name: those of another stack, another deployment, or the command line. */
export interface NamedTables extends Partial<TableNames> {
  /** The key that they are encrypted with, where it is one of your own. */
  readonly encryptionKey?: IKey;
}

/** The three tables of a fleet, wherever they were made. */
export interface FleetTables extends IDependable {
  readonly objects: ITable;
  readonly queue: ITable;
  readonly control: ITable;
  readonly encryptionKey?: IKey | undefined;
}

/**
 * The three tables of a fleet. They outlive their stack, can be restored to any second of 35 days, and refuse to be deleted.
 * Keep them in a stack of their own, so that what works on them can fail, be rolled back and be destroyed.
 */
export class HoldfastTables extends Construct implements FleetTables {
  readonly objects: ITable;
  readonly queue: ITable;
  readonly control: ITable;
  readonly encryptionKey: IKey | undefined;

  constructor(scope: Construct, id: string, props: HoldfastTablesProps = {}) {
    super(scope, id);
    this.encryptionKey = props.encryptionKey;
    const { objects, queue, control } = tableDefinitions(namesOf(props.names));
    this.objects = this.create('objects', objects, props);
    this.queue = this.create('queue', queue, props);
    this.control = this.create('control', control, props);
  }

  /** Tables that exist, or that another stack of the same deployment makes first. Nothing is exported from that stack. */
  static fromNames(scope: Construct, id: string, { encryptionKey, ...names }: NamedTables = {}): FleetTables {
    const home = new Construct(scope, id);
    const definitions = tableDefinitions(namesOf(names));
    const named = (table: keyof TableNames) =>
      Table.fromTableAttributes(home, table, {
        tableName: definitions[table].name,
        globalIndexes: definitions[table].indexes.map(({ name }) => name),
        ...defined({ encryptionKey }),
      });
    const tables = { objects: named('objects'), queue: named('queue'), control: named('control'), encryptionKey };
    Dependable.implement(tables, Dependable.of(home));
    return tables;
  }

  private create(id: string, definition: TableDefinition, props: HoldfastTablesProps): ITable {
    const { name, partitionKey, sortKey, indexes, ttlAttribute } = definition;
    const isProvisioned = props.capacity === 'provisioned';
    const table = new Table(this, id, {
      tableName: name,
      partitionKey: attribute(partitionKey),
      ...defined({ sortKey: sortKey && attribute(sortKey), timeToLiveAttribute: ttlAttribute }),
      ...(isProvisioned
        ? { billingMode: BillingMode.PROVISIONED, ...freeUnits[id] }
        : { billingMode: BillingMode.PAY_PER_REQUEST }),
      ...(props.encryptionKey
        ? { encryption: TableEncryption.CUSTOMER_MANAGED, encryptionKey: props.encryptionKey }
        : { encryption: TableEncryption.DEFAULT }),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: props.deletionProtection ?? true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    for (const index of indexes) addIndex(table, index, isProvisioned);
    return table as ITable;
  }
}

function namesOf(names: Partial<TableNames> = {}): TableNames {
  return { ...defaultTableNames, ...names };
}

function addIndex(
  table: Table,
  { name, partitionKey, sortKey, projects }: IndexDefinition,
  isProvisioned: boolean,
): void {
  const named = { ALL: ProjectionType.ALL, KEYS: ProjectionType.KEYS_ONLY };
  table.addGlobalSecondaryIndex({
    indexName: name,
    partitionKey: attribute(partitionKey),
    sortKey: attribute(sortKey),
    ...(typeof projects === 'string'
      ? { projectionType: projects === 'all' ? named.ALL : named.KEYS }
      : { projectionType: ProjectionType.INCLUDE, nonKeyAttributes: [...projects] }),
    ...(isProvisioned && freeUnits[name]),
  });
}

function attribute({ name, type }: KeyAttribute): Attribute {
  return { name, type: type === 'number' ? AttributeType.NUMBER : AttributeType.STRING };
}
