import { Annotations, Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import type { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { Effect, PolicyDocument, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Architecture, type Code, Function as LambdaFunction, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { defined } from '../lib/base/defined.ts';
import { nodeOptions } from '../lib/config/node-options.ts';
import { statementsFor } from './access.ts';
import type { Actor } from './actors.ts';
import type { FleetTables } from './holdfast-tables.ts';
import type { Plan } from './validate.ts';

/** Where functions run, when not outside of any VPC. */
export interface Network {
  readonly vpc?: IVpc;
  readonly vpcSubnets?: SubnetSelection;
  readonly securityGroups?: readonly ISecurityGroup[];
}

export interface FleetFunctionProps {
  readonly actor: Actor;
  readonly plan: Plan;
  readonly tables: FleetTables;
  readonly code: Code;
  readonly network: Network;
  readonly timeoutSeconds: number;
  readonly memoryMb: number;
  /** What it may do beside what its part in the fleet needs. */
  readonly statements?: readonly PolicyStatement[];
  /** Asynchronous events older than this are dropped. */
  readonly maxEventAgeSeconds?: number;
  readonly concurrency?: number;
}

/** A Lambda function with a role and a log group of its own. It never runs twice for one event. */
export class FleetFunction extends Construct {
  readonly lambda: LambdaFunction;
  readonly logGroup: LogGroup;

  constructor(scope: Construct, id: string, props: FleetFunctionProps) {
    super(scope, id);
    const { actor, plan, tables } = props;
    const { deployment } = plan;
    const functionName = `${deployment.stackName}-${actor}`;
    this.logGroup = new LogGroup(this, 'Logs', {
      logGroupName: `/aws/lambda/${functionName}`,
      retention: deployment.logRetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const statements = [
      new PolicyStatement({
        sid: 'Logs',
        effect: Effect.ALLOW,
        actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        resources: [this.logGroup.logGroupArn],
      }),
      ...statementsFor(actor, plan, tables),
      ...(props.statements ?? []),
      ...(props.network.vpc ? [networkStatement()] : []),
    ];
    const role = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      inlinePolicies: { access: new PolicyDocument({ statements }) },
    });
    acknowledgeWildcards(role, statements);
    checkSize(this, actor, statements);
    this.lambda = new LambdaFunction(this, 'Function', {
      functionName,
      role,
      code: props.code,
      handler: 'index.handler',
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      timeout: Duration.seconds(props.timeoutSeconds),
      memorySize: props.memoryMb,
      logGroup: this.logGroup,
      retryAttempts: 0,
      maxEventAge: Duration.seconds(props.maxEventAgeSeconds ?? 60),
      ...defined({ reservedConcurrentExecutions: props.concurrency }),
      environment: environmentOf(plan, tables),
      ...networkOf(props.network),
    });
  }
}

/** Given parameters only: what is not here has the default that the code itself knows. */
function environmentOf({ tuning, deployment }: Plan, tables: FleetTables): Record<string, string> {
  return {
    ...tuning,
    OBJECTS_TABLE: tables.objects.tableName,
    QUEUE_TABLE: tables.queue.tableName,
    CONTROL_TABLE: tables.control.tableName,
    HOLDFAST_LOG: deployment.logLevel,
    HOLDFAST_STACK: deployment.stackName,
    NODE_OPTIONS: nodeOptions,
  };
}

function networkOf({ securityGroups, ...network }: Network) {
  return { ...network, ...defined({ securityGroups: securityGroups && [...securityGroups] }) };
}

/** What Lambda does on behalf of a function in a VPC; these actions know no resources. */
function networkStatement(): PolicyStatement {
  return new PolicyStatement({
    sid: 'Network',
    actions: ['ec2:CreateNetworkInterface', 'ec2:DescribeNetworkInterfaces', 'ec2:DeleteNetworkInterface'],
    resources: ['*'],
  });
}

/** IAM's limit for the inline policies of a role, in characters. */
const policyCharacters = 10_240;

function checkSize(scope: Construct, actor: Actor, statements: readonly PolicyStatement[]): void {
  const template = JSON.stringify(Stack.of(scope).resolve(statements.map((statement) => statement.toStatementJson())));
  // IAM counts what CloudFormation has made of it.
  const text = template.replaceAll(
    /\{"Fn::Join":\["",\["arn:",\{"Ref":"AWS::Partition"\},"([^"]*)"\]\]\}/g,
    '"arn:aws$1"',
  );
  if (text.length <= policyCharacters) return;
  const what = `The policy of ${actor} has ${text.length} characters; IAM takes ${policyCharacters}`;
  Annotations.of(scope).addError(`${what}. Name fewer buckets with "role", or give some of them keys of their own`);
}

/** The keys of a bucket below a prefix can only be named with a wildcard. */
function acknowledgeWildcards(role: Role, statements: readonly PolicyStatement[]): void {
  const keys = new Set(statements.flatMap(({ resources }) => resources).filter((resource) => resource.endsWith('*')));
  for (const arn of keys) {
    const id = `AwsSolutions-IAM5[Resource::${arn.replace(/\$\{Token\[AWS\.Partition\.\d+\]\}/, '<AWS::Partition>')}]`;
    Validations.of(role).acknowledge({
      id,
      reason:
        arn === '*'
          ? 'The network interfaces of functions in a VPC: these actions know no resources'
          : 'Objects are named by key: every key below the prefix of this backend, in this bucket alone',
    });
  }
}
