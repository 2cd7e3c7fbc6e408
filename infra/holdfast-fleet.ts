import { Annotations, Duration, Names, RemovalPolicy, Stack, Token, Validations } from 'aws-cdk-lib';
import type { Alarm, Dashboard } from 'aws-cdk-lib/aws-cloudwatch';
import { type IGrantable, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { ScheduleGroup } from 'aws-cdk-lib/aws-scheduler';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { defined } from '../lib/base/defined.ts';
import { type WorkerName, workerNames } from '../lib/config/parameters.ts';
import { statementsFor } from './access.ts';
import { FleetAlarms } from './alarms.ts';
import { AppliedFleet } from './applied-fleet.ts';
import { addDashboard } from './dashboard.ts';
import { EventImporter } from './event-importer.ts';
import { type FleetTables, HoldfastTables, type NamedTables } from './holdfast-tables.ts';
import { fleetText, type HoldfastFleetProps, optionsOf, textOf } from './props.ts';
import { ScheduledWorker } from './scheduled-worker.ts';
import { shippedCode } from './shipped-code.ts';
import { isOnAws, type Plan, planDeployment } from './validate.ts';

/** `<name>-over-replication-cleaner` is the longest name of a function, and those have 64 characters. */
const longestName = 39;

/**
 * What works on a fleet: a scheduled function per worker, the fleet file in force, alarms and a dashboard. Everything here can
 * be destroyed and made again: what is where stands in the tables. Throws a `ConfigError` that lists every problem.
 */
export class HoldfastFleet extends Construct {
  readonly tables: FleetTables;
  /** The workers, by name. */
  readonly functions: Readonly<Record<WorkerName, LambdaFunction>>;
  /** Puts the fleet file in force; invoke it with `{}` to do so again. */
  readonly applyFunction: LambdaFunction;
  /** Takes what buckets on AWS tell of new files; only where a backend has `"events": true`. */
  readonly importer: EventImporter | undefined;
  readonly topic: ITopic;
  readonly alarms: readonly Alarm[];
  /** What the alarms cost, in words. */
  readonly alarmCost: string;
  readonly dashboard: Dashboard | undefined;
  private readonly plan: Plan;

  constructor(scope: Construct, id: string, props: HoldfastFleetProps) {
    super(scope, id);
    const name = props.name ?? Names.uniqueResourceName(this, { maxLength: longestName, separator: '-' });
    const { code = shippedCode } = props;
    const plan = planDeployment(fleetText(props.fleet), textOf(props.tuning ?? {}), optionsOf(props, name), {
      givenAs: 'prop',
      kmsKeyArns: props.encryptionKeyArns ?? [],
    });
    this.plan = plan;
    const tables = tablesOf(this, props.tables);
    this.tables = tables;
    const network = {
      ...defined({ vpc: props.vpc, vpcSubnets: props.vpcSubnets, securityGroups: props.securityGroups }),
    };
    const shared = { plan, tables, network };
    const applied = new AppliedFleet(this, 'AppliedFleet', {
      ...shared,
      code: code('apply'),
      deployedAt: props.deployedAt ?? '',
    });
    this.applyFunction = applied.function.lambda;
    const deadLetters = this.deadLetters();
    const group = new ScheduleGroup(this, 'Schedules', {
      scheduleGroupName: name,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const schedulerRole = this.schedulerRole(name);
    const workers = workerNames.map(
      (worker) =>
        new ScheduledWorker(this, { ...shared, worker, code: code(worker), group, schedulerRole, deadLetters }),
    );
    this.functions = Object.fromEntries(workers.map((worker) => [worker.worker, worker.function.lambda])) as Record<
      WorkerName,
      LambdaFunction
    >;
    schedulerRole.addToPolicy(
      new PolicyStatement({
        actions: ['lambda:InvokeFunction'],
        resources: workers.map((worker) => worker.function.lambda.functionArn),
      }),
    );
    schedulerRole.addToPolicy(new PolicyStatement({ actions: ['sqs:SendMessage'], resources: [deadLetters.queueArn] }));
    const listening = plan.file.backends.filter((backend) => backend.events && isOnAws(backend));
    if (listening.length > 0)
      this.importer = new EventImporter(this, 'Importer', {
        ...shared,
        code: code('importer'),
        listening,
        deadLetters,
      });
    // A worker has nothing to go by before a fleet file is in force.
    for (const dependent of [...workers, ...(this.importer ? [this.importer] : [])])
      dependent.node.addDependency(applied);
    const alarms = new FleetAlarms(this, 'Alarms', {
      plan,
      tables,
      workers,
      deadLetters,
      ...defined({ topic: props.topic }),
    });
    this.topic = alarms.topic;
    this.alarms = alarms.alarms;
    this.alarmCost = alarms.cost;
    if (alarms.alarms.length > 0 && props.topic === undefined && plan.deployment.alarmEmail === '')
      Annotations.of(this).addWarningV2(
        'holdfast:nobody-is-told',
        'Nobody is subscribed to the alarms: give an address, a topic of yours, or subscribe to the topic',
      );
    this.dashboard = plan.deployment.hasDashboard ? addDashboard(this, plan, workers) : undefined;
  }

  /**
   * Lets a role or user read and write objects with the library: the tables, the secrets and keys of the backends, and the
   * buckets that are reached by role.
   */
  grantReadWrite(grantee: IGrantable): void {
    for (const statement of statementsFor('application', this.plan, this.tables))
      grantee.grantPrincipal.addToPrincipalPolicy(statement);
  }

  /** Events that Scheduler could not deliver, and events of buckets that could not be dealt with. */
  private deadLetters(): Queue {
    const queue = new Queue(this, 'DeadLetters', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
    Validations.of(queue).acknowledge({ id: 'AwsSolutions-SQS3', reason: 'It is the dead-letter queue itself' });
    return queue;
  }

  private schedulerRole(groupName: string): Role {
    const { account } = Stack.of(this);
    const sourceArn = Stack.of(this).formatArn({
      service: 'scheduler',
      resource: 'schedule-group',
      resourceName: groupName,
    });
    return new Role(this, 'SchedulerRole', {
      assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': account, 'aws:SourceArn': sourceArn } },
      }),
    });
  }
}

function tablesOf(scope: Construct, given: FleetTables | NamedTables = {}): FleetTables {
  const isMade = (tables: FleetTables | NamedTables): tables is FleetTables =>
    typeof tables.objects === 'object' && !Token.isUnresolved(tables.objects);
  return isMade(given) ? given : HoldfastTables.fromNames(scope, 'Tables', given);
}
