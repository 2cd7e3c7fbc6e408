import { App, type Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Code } from 'aws-cdk-lib/aws-lambda';
import { parseDeployment, propsOf } from '../../../infra/deployment.ts';
import { HoldfastDataStack, HoldfastWorkersStack } from '../../../infra/stacks.ts';

export interface Resource {
  readonly Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: a template is JSON of any shape
  readonly Properties: any;
  readonly DeletionPolicy?: string;
  readonly DependsOn?: readonly string[];
}

export interface Synthesised {
  readonly app: App;
  readonly stack: HoldfastWorkersStack;
  readonly data: HoldfastDataStack;
  /** Of both stacks: their logical ids differ. */
  readonly resources: Readonly<Record<string, Resource>>;
  /** Resources of one type, by logical id. */
  ofType(type: string): [string, Resource][];
  /** A value of the template with its functions worked out, as CloudFormation would. */
  resolve(value: unknown): unknown;
}

const account = '123456789012';
const region = 'us-east-1';
const pseudo: Readonly<Record<string, string>> = {
  'AWS::Partition': 'aws',
  'AWS::AccountId': account,
  'AWS::Region': region,
  'AWS::URLSuffix': 'amazonaws.com',
};

/** A fleet with a bit of everything: two buckets on AWS, one of which tells of new files, one backend elsewhere with keys of its own. */
export const testFleet = {
  backends: [
    {
      name: 'aws-a',
      bucket: 'bucket-a',
      prefix: 'fleet/',
      credentials: 'role',
      quotaBytes: 1_000_000_000,
      limits: { requests: 1_000_000 },
      events: true,
    },
    { name: 'aws-b', bucket: 'bucket-b', credentials: 'role', quotaBytes: 1_000_000_000 },
    {
      name: 'ext',
      endpoint: 'https://s3.example.com',
      bucket: 'bucket-x',
      credentials: { secretArn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:ext-AbCdEf' },
      deleteCredentials: { secretArn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:ext-delete-AbCdEf' },
    },
  ],
  policies: { default: { factor: 2 } },
};

/** Synthesises both stacks in memory; the code of the functions is a stub. `grantsTo` names a role of an application. */
export function synthesise(
  fleet: unknown = testFleet,
  tuning: Readonly<Record<string, string>> = {},
  options: Readonly<Record<string, string>> = {},
  grantsTo?: string,
): Synthesised {
  const app = new App({ analyticsReporting: false });
  const deployment = parseDeployment(options);
  const names = tuning.OBJECTS_TABLE === undefined ? {} : { objects: tuning.OBJECTS_TABLE };
  const data = new HoldfastDataStack(app, `${deployment.stackName}-data`, {
    names,
    capacity: deployment.isProvisioned ? 'provisioned' : 'on-demand',
    deletionProtection: deployment.isProtected,
  });
  const stack = new HoldfastWorkersStack(app, deployment.stackName, {
    ...propsOf(deployment),
    fleet: typeof fleet === 'string' ? fleet : JSON.stringify(fleet),
    tuning,
    tables: names,
    code: () => Code.fromInline('exports.handler = async () => {};'),
    deployedAt: '2026-01-01T00:00:00Z',
  });
  stack.addStackDependency(data);
  const ecs = new ServicePrincipal('ecs-tasks.amazonaws.com');
  if (grantsTo !== undefined) stack.fleet.grantReadWrite(new Role(stack, grantsTo, { assumedBy: ecs }));
  const of = (one: Stack) => Template.fromStack(one).toJSON().Resources as Record<string, Resource>;
  const resources = { ...of(data), ...of(stack) };
  return {
    app,
    stack,
    data,
    resources,
    ofType: (type) => Object.entries(resources).filter(([, resource]) => resource.Type === type),
    resolve: (value) => resolveIn(resources, value),
  };
}

function resolveIn(resources: Readonly<Record<string, Resource>>, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => resolveIn(resources, entry));
  if (typeof value !== 'object' || value === null) return value;
  const [[name, argument] = ['', undefined]] = Object.entries(value);
  if (name === 'Ref') return pseudo[argument as string] ?? nameOf(resources, argument as string);
  if (name === 'Fn::GetAtt') return attributeOf(resources, argument as [string, string]);
  if (name === 'Fn::Join') {
    const [separator, parts] = argument as [string, unknown[]];
    return (resolveIn(resources, parts) as string[]).join(separator);
  }
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, resolveIn(resources, entry)]));
}

function nameOf(resources: Readonly<Record<string, Resource>>, id: string): string {
  const { Type, Properties } = resources[id]!;
  if (Type === 'AWS::DynamoDB::Table') return Properties.TableName;
  if (Type === 'AWS::Lambda::Function') return Properties.FunctionName;
  if (Type === 'AWS::Logs::LogGroup') return Properties.LogGroupName;
  if (Type === 'AWS::SNS::Topic') return `arn:aws:sns:${region}:${account}:${id}`;
  return id;
}

function attributeOf(resources: Readonly<Record<string, Resource>>, [id, attribute]: [string, string]): string {
  const { Type } = resources[id]!;
  const name = nameOf(resources, id);
  if (Type === 'AWS::DynamoDB::Table') return `arn:aws:dynamodb:${region}:${account}:table/${name}`;
  if (Type === 'AWS::Logs::LogGroup') return `arn:aws:logs:${region}:${account}:log-group:${name}:*`;
  if (Type === 'AWS::Lambda::Function') return `arn:aws:lambda:${region}:${account}:function:${name}`;
  return `${id}.${attribute}`;
}
