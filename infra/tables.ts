import { RemovalPolicy } from 'aws-cdk-lib';
import {
  type Attribute,
  AttributeType,
  BillingMode,
  ProjectionType,
  Table,
  TableEncryption,
} from 'aws-cdk-lib/aws-dynamodb';
import { Construct } from 'constructs';
import {
  type IndexDefinition,
  type KeyAttribute,
  type TableDefinition,
  tableDefinitions,
} from '../lib/config/tables.ts';
import type { Plan } from './validate.ts';

/** Read and write units of each table and index when they are provisioned: 25 + 25 in all, which is always free. */
const freeUnits: Readonly<Record<string, { readonly readCapacity: number; readonly writeCapacity: number }>> = {
  objects: { readCapacity: 5, writeCapacity: 6 },
  'by-placement': { readCapacity: 3, writeCapacity: 5 },
  'by-key': { readCapacity: 1, writeCapacity: 1 },
  queue: { readCapacity: 4, writeCapacity: 4 },
  due: { readCapacity: 4, writeCapacity: 4 },
  control: { readCapacity: 8, writeCapacity: 5 },
};

/** The three tables. They outlive the stack, can be restored to any second of 35 days, and refuse to be deleted. */
export class FleetTables extends Construct {
  readonly objects: Table;
  readonly queue: Table;
  readonly control: Table;

  constructor(scope: Construct, id: string, plan: Plan) {
    super(scope, id);
    const { objects, queue, control } = tableDefinitions(plan.parameters.tables);
    this.objects = this.create('objects', objects, plan);
    this.queue = this.create('queue', queue, plan);
    this.control = this.create('control', control, plan);
  }

  private create(id: string, definition: TableDefinition, { deployment }: Plan): Table {
    const { name, partitionKey, sortKey, indexes, ttlAttribute } = definition;
    const table = new Table(this, id, {
      tableName: name,
      partitionKey: attribute(partitionKey),
      ...(sortKey && { sortKey: attribute(sortKey) }),
      ...(ttlAttribute === undefined ? {} : { timeToLiveAttribute: ttlAttribute }),
      ...(deployment.isProvisioned
        ? { billingMode: BillingMode.PROVISIONED, ...freeUnits[id] }
        : { billingMode: BillingMode.PAY_PER_REQUEST }),
      encryption: TableEncryption.DEFAULT,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: deployment.isProtected,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    for (const index of indexes) addIndex(table, index, deployment.isProvisioned);
    return table;
  }
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
